"""Exact attention on CPUs, in every variant, which can say what it looked at.

``attention`` computes; ``plan`` says beforehand what will run; ``weights`` shows what a row attends to;
``masks`` says who may attend to whom; ``PagedKvCache`` keeps keys and values; ``generate`` runs a language model. ``regard.torch`` stands in for PyTorch's own function,
``regard.hf`` for the attention of transformers' models.
"""

from regard import masks
from regard._engine import (
    AttentionState,
    CacheFull,
    PagedKvCache,
    Plan,
    __version__,
    attention,
    merge,
    partial_attention,
    plan,
    rope,
    weights,
)
from regard._generate import Generation, generate
from regard._look import Look, look

__all__ = [
    "AttentionState",
    "CacheFull",
    "Generation",
    "Look",
    "PagedKvCache",
    "Plan",
    "__version__",
    "attention",
    "generate",
    "look",
    "masks",
    "merge",
    "partial_attention",
    "plan",
    "rope",
    "weights",
]
