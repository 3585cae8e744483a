"""transformers' models on regard: importing this registers the engine with transformers' interfaces.

>>> import regard.hf
>>> model = AutoModel.from_pretrained(name, attn_implementation="regard")  # doctest: +SKIP

docs/huggingface.md says what works and what is refused. Tested with transformers 5.23.0, 5.22.0 and 5.20.0.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
import transformers
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.utils.output_capturing import _active_collector

import regard
from regard.hf_lazy_mask import StructuredMask
from regard.hf_masks import make_mask

__all__ = ["StructuredMask", "attention_forward", "make_mask"]

# Arguments of some models' own kernels: leaving them out would compute something else.
_REFUSED = ("block_indices", "cache")


def attention_forward(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    sinks: torch.Tensor | None = None,
    position_bias: torch.Tensor | None = None,
    indices: torch.Tensor | None = None,
    is_causal: bool | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """transformers' attention interface.

    query (batch, heads, q_len, dim), key and value (batch, kv_heads, kv_len, dim or value_dim): f32, bf16 or
    f16. attention_mask: what make_mask made, or any that SDPA takes. s_aux: a sink per head; sinks (batch,
    heads, q_len, 1): for each query its own. position_bias: broadcastable to (batch, heads, q_len, kv_len).
    indices (batch, q_len, n): the keys that a query may see at most. Returns the output (batch, q_len, heads,
    value_dim) and, if the model was asked for attentions, the weights (batch, heads, q_len, kv_len) or None.
    ValueError for dropout, gradients and arguments of other kernels; TypeError for other dtypes and devices.
    """
    _check(dropout, (query, key, value, s_aux, sinks, position_bias), kwargs)
    batch = max(query.shape[0], key.shape[0])  # learned queries serve every sequence
    query, key, value = (
        x if x.shape[0] == batch else x.expand(batch, -1, -1, -1) for x in (query, key, value)
    )
    if indices is not None:
        attention_mask = _among(indices, attention_mask, key.shape[2])
    call = _mask_arguments(module, query, key, attention_mask, is_causal)
    if position_bias is not None:
        position_bias = position_bias.detach()
        call["bias"] = position_bias + call["bias"] if "bias" in call else position_bias
    if s_aux is not None:
        call["sinks"] = s_aux.detach().float().reshape(-1)
    call.update(scale=scaling, softcap=softcap, num_threads=torch.get_num_threads())
    out = query.new_empty(batch, query.shape[2], query.shape[1], value.shape[3])
    lse = regard.attention(query, key, value, out=out.transpose(1, 2), return_lse=sinks is not None, **call)
    weights = regard.weights(query, key, **call) if _wants_weights(kwargs) else None
    if sinks is not None:
        kept = torch.sigmoid(lse[1][..., None] - sinks)  # what a sink leaves of the softmax without it
        out *= kept.transpose(1, 2)
        weights = weights if weights is None else weights * kept
    return out, weights if weights is None else weights.to(query.dtype)


def _among(indices: torch.Tensor, mask: torch.Tensor | None, kv_len: int) -> torch.Tensor:
    """The mask, less the keys that the indices leave out: (batch, 1, q_len, kv_len) bool."""
    nothing = torch.zeros(*indices.shape[:2], kv_len, dtype=torch.bool)
    chosen = nothing.scatter_(-1, indices.long(), True)[:, None]
    return chosen if mask is None else chosen & mask


def _check(dropout: float, tensors: tuple[torch.Tensor | None, ...], kwargs: dict[str, Any]) -> None:
    if dropout:
        raise ValueError(
            f"regard: dropout {dropout}, expected 0: it is for inference only, call model.eval()"
        )
    if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors):
        raise ValueError(
            "regard: it gives no gradients: call model.eval(), and the model under torch.no_grad()"
        )
    for name in _REFUSED:
        if kwargs.get(name) is not None:
            raise ValueError(f"regard: {name} is not supported, choose another attn_implementation")


def _mask_arguments(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    mask: torch.Tensor | None,
    is_causal: bool | None,
) -> dict[str, Any]:
    """The mask as arguments of regard.attention."""
    if isinstance(mask, StructuredMask):
        if mask.shape[2] != query.shape[2] or mask.shape[3] != key.shape[2]:
            wanted = (query.shape[0], 1, query.shape[2], key.shape[2])
            raise ValueError(f"regard: attention_mask of shape {tuple(mask.shape)}, expected {wanted}")
        serves_all = mask.shape[0] == query.shape[0]
        return dict(mask.options) if serves_all else {"mask": mask.dense()}
    if mask is None:  # as SDPA has it: a module is causal unless it says otherwise, from the first key on
        is_causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
        return {"causal": True, "q_offset": 0} if is_causal and query.shape[2] > 1 else {}
    return {"mask" if mask.dtype == torch.bool else "bias": mask}


def _wants_weights(kwargs: dict[str, Any]) -> bool:
    """Asked for by name, or collected by hooks on the modules, which the call itself does not show."""
    if kwargs.get("output_attentions"):
        return True
    return any("attentions" in name for name in _active_collector.get() or ())


if not (5, 20) <= tuple(int(n) for n in transformers.__version__.split(".")[:2]) < (5, 24):
    warnings.warn(
        f"regard.hf: transformers {transformers.__version__}, tested with 5.20 to 5.23", stacklevel=2
    )
AttentionInterface.register("regard", attention_forward)
AttentionMaskInterface.register("regard", make_mask)
