"""Masks: which query may attend to which key. They combine with ``&``, ``|`` and ``~``.

>>> from regard import masks
>>> print(masks.causal() & (masks.prefix(4) | masks.window(4096, 0)))
(causal & (prefix(4) | window(4096, 0)))
"""

from regard._engine import (
    Mask,
    block,
    causal,
    dense,
    document,
    full,
    parse,
    per_sequence,
    prefix,
    strided,
    window,
)

__all__ = [
    "Mask",
    "block",
    "causal",
    "dense",
    "document",
    "full",
    "parse",
    "per_sequence",
    "prefix",
    "strided",
    "window",
]
