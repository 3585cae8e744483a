"""PyTorch's attention, computed by regard: the arguments and meaning of ``torch.nn.functional.scaled_dot_product_attention``.

>>> import torch, regard.torch
>>> q = k = v = torch.randn(1, 8, 128, 64)
>>> with regard.torch.patch():  # an unmodified model calls regard in here
...     out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)

Inference on CPUs in float32, bfloat16 and float16: what regard does not do (dropout, gradients, float64, other devices) is
refused by name, never passed on in silence.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import torch
from torch import Tensor

import regard

__all__ = ["patch", "scaled_dot_product_attention"]

_theirs = torch.nn.functional.scaled_dot_product_attention


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """``torch.nn.functional.scaled_dot_product_attention``, exact and in memory linear in the length.

    query (..., heads, q_len, head_dim), key (..., kv_heads, kv_len, head_dim), value (..., kv_heads, kv_len, value_dim);
    leading axes broadcast. attn_mask broadcasts to (..., heads, q_len, kv_len): booleans, True = may attend, or numbers that
    are added to the scores. is_causal: query i sees the keys up to i, whatever the lengths. enable_gqa: heads is a multiple
    of kv_heads.

    Differences: a row that sees no key is 0 (PyTorch: NaN or 0, by backend). ValueError for dropout_p > 0; TypeError for
    other dtypes than float32, bfloat16 and float16, other devices than the CPU, and tensors that track gradients.
    """
    if dropout_p:
        raise ValueError(f"scaled_dot_product_attention: dropout_p is {dropout_p}, expected 0: call model.eval(), regard does not drop")
    if torch.compiler.is_compiling():
        return torch.ops.regard.scaled_dot_product_attention(query, key, value, attn_mask, is_causal, scale, enable_gqa)
    return _attention(query, key, value, attn_mask, is_causal, scale, enable_gqa)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
) -> Tensor:
    if attn_mask is not None and is_causal:
        raise ValueError("scaled_dot_product_attention: is_causal is True, expected False with an attn_mask")
    batch, kv_batch, leading = query.shape[:-2], key.shape[:-2], None
    same = batch == kv_batch or (enable_gqa and batch[:-1] == kv_batch[:-1])
    if not same or kv_batch != value.shape[:-2] or not 2 <= query.dim() <= 4:
        query, key, value, leading = _broadcast(query, key, value, enable_gqa)
    mask = bias = None
    if attn_mask is not None:
        if attn_mask.dim() > 2 and leading is not None and len(leading) > 2:  # flattened as the others are
            attn_mask = attn_mask.expand(*leading, *attn_mask.shape[-2:]).reshape(*query.shape[:2], *attn_mask.shape[-2:])
        if attn_mask.dtype == torch.bool:
            mask = attn_mask
        else:
            bias = attn_mask
    out = regard.attention(
        query,
        key,
        value,
        causal=is_causal,
        q_offset=0 if is_causal else None,
        mask=mask,
        bias=bias,
        scale=scale,
        num_threads=torch.get_num_threads(),
    )
    return out if leading is None else out.reshape(*leading, *out.shape[-2:])


def _broadcast(query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool) -> tuple[Tensor, Tensor, Tensor, torch.Size]:
    """All three as (batch, heads, length, dim), and the leading axes of the result."""
    for name, tensor in ("query", query), ("key", key), ("value", value):
        if tensor.dim() < 2:
            raise ValueError(f"scaled_dot_product_attention: {name} has {tensor.dim()} axes, expected 2 or more")
    tensors = [query, key, value]
    if enable_gqa:
        if min(tensor.dim() for tensor in tensors) < 3:
            raise ValueError("scaled_dot_product_attention: enable_gqa is True, expected False without an axis of heads")
        batch = torch.broadcast_shapes(*(tensor.shape[:-3] for tensor in tensors))
        kv_heads = torch.broadcast_shapes(key.shape[-3:-2], value.shape[-3:-2])
        heads = [query.shape[-3:-2], kv_heads, kv_heads]
    else:
        batch = torch.broadcast_shapes(*(tensor.shape[:-2] for tensor in tensors))
        batch, shared = batch[:-1], batch[-1:]
        heads = [shared] * 3
    leading = torch.Size((*batch, *heads[0]))
    size = batch.numel()
    flat = [
        tensor.expand(*batch, *head, *tensor.shape[-2:]).reshape(size, head.numel(), *tensor.shape[-2:])
        for tensor, head in zip(tensors, heads)
    ]
    return flat[0], flat[1], flat[2], leading


# The same as one node of a compiled graph. Gradients: torch.library.register_autograd belongs here.
_operator = torch.library.custom_op("regard::scaled_dot_product_attention", _attention, mutates_args=())


@_operator.register_fake
def _(query, key, value, attn_mask, is_causal, scale, enable_gqa):  # type: ignore[no-untyped-def]
    leading = query.shape[:-2]
    if not enable_gqa:
        leading = torch.broadcast_shapes(leading, key.shape[:-2], value.shape[:-2])
    elif query.dim() > 3 or key.dim() > 3 or value.dim() > 3:
        batch = torch.broadcast_shapes(leading[:-1], key.shape[:-3], value.shape[:-3])
        leading = (*batch, query.shape[-3])
    return query.new_empty((*leading, query.shape[-2], value.shape[-1]))


@contextlib.contextmanager
def patch() -> Iterator[None]:
    """Within it, whoever calls ``torch.nn.functional.scaled_dot_product_attention`` calls regard, in all threads.

    That includes modules that have imported the function by name, ``torch.nn.MultiheadAttention`` and the layers of
    ``torch.nn.Transformer``, whose fused fast path is turned off meanwhile. What regard refuses raises.
    """
    places = [
        (module, name)
        for module in list(sys.modules.values())
        if module is not None and module.__name__ != __name__
        for name, item in list(getattr(module, "__dict__", {}).items())
        if item is _theirs
    ]
    fastpath = torch.backends.mha.get_fastpath_enabled()
    try:
        for module, name in places:
            setattr(module, name, scaled_dot_product_attention)
        torch.backends.mha.set_fastpath_enabled(False)
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)
        for module, name in places:
            setattr(module, name, _theirs)
