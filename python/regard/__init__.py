"""Exact attention on CPUs, in every variant, which can say what it looked at.

``attention`` computes; ``plan`` says beforehand what will run; ``weights`` shows what a row attends to;
``masks`` says who may attend to whom. ``regard.torch`` stands in for PyTorch's own function,
``regard.hf`` for the attention of transformers' models.
"""

from regard import masks
from regard._engine import (
    AttentionState,
    Plan,
    __version__,
    attention,
    merge,
    partial_attention,
    plan,
    rope,
    weights,
)

__all__ = [
    "AttentionState",
    "Plan",
    "__version__",
    "attention",
    "masks",
    "merge",
    "partial_attention",
    "plan",
    "rope",
    "weights",
]
