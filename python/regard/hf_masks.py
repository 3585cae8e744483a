"""The structure of transformers' masks: what a mask function says, as the engine's own masks.

transformers builds a mask from small functions of positions (masking_utils.py) that a mask interface turns
into what its attention wants. Here that is a tensor without memory, ``StructuredMask``, which carries the
structure. What cannot be told from the functions is made dense, as for SDPA.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial, reduce
from typing import Any

import torch
from transformers import PreTrainedModel, masking_utils

from regard import masks
from regard.hf_lazy_mask import NOT_CHOSEN, StructuredMask

# A mask for all sequences, or one for each; None: every query sees every key.
_Masks = masks.Mask | list[masks.Mask | None] | None


class _Unknown(Exception):
    """The structure of a mask function is not known here."""


@dataclass(frozen=True)
class _Extent:
    """Where the queries and keys of a call are; positions count from its first key, as the engine's do."""

    batch: int
    q_begin: int
    q_len: int
    kv_begin: int  # the first key in transformers' positions
    kv_len: int
    kv_end: int  # behind the last key that is not padding

    @property
    def kv_span(self) -> slice:
        return slice(self.kv_begin, self.kv_begin + self.kv_len)


def make_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | torch.Tensor = 0,
    kv_offset: int = 0,
    mask_function: Callable = masking_utils.causal_mask_function,
    attention_mask: torch.Tensor | None = None,
    **kwargs: Any,
) -> torch.Tensor:
    """transformers' mask interface: a StructuredMask; dense inside where the structure is not known.

    attention_mask (batch, tokens) bool, False = padding; the rest as sdpa_mask takes it. ValueError for a
    model that cannot work with booleans.
    """
    config = kwargs.get("config")
    if config is not None and not _takes_booleans(type(config)):
        raise ValueError(f"regard: {config.model_type} {NOT_CHOSEN}")
    call = dict(
        kwargs,
        batch_size=batch_size,
        q_length=q_length,
        kv_length=kv_length,
        kv_offset=kv_offset,
        mask_function=mask_function,
        attention_mask=attention_mask,
        q_offset=q_offset,
        allow_is_causal_skip=False,
        allow_is_bidirectional_skip=False,
    )
    if torch.compiler.is_compiling():
        return masking_utils.sdpa_mask(**call)
    call["q_offset"] = int(q_offset)  # the tensor of a static cache counts on
    make = partial(masking_utils.sdpa_mask, **call)
    padding = _Padding.of(attention_mask, kv_offset, kv_length)
    extent = _Extent(batch_size, call["q_offset"] - kv_offset, q_length, kv_offset, kv_length, padding.kv_end)
    try:
        options = _options(mask_function, padding, extent)
    except _Unknown:
        options = {"mask": make()}
    return StructuredMask((batch_size, 1, q_length, kv_length), options, make)


@torch.compiler.assume_constant_result
def _takes_booleans(config_class: type) -> bool:
    """Whether transformers lets the attention of a configuration's models be chosen."""
    return _chooses_attention(config_class)


@cache
def _chooses_attention(config_class: type) -> bool:
    """By transformers' own test, which reads the source."""
    if config_class.model_type in _WANT_FLOATS:
        return False
    module = sys.modules.get(config_class.__module__.replace("configuration_", "modeling_"))
    members = vars(module).values() if module else ()
    models = [x for x in members if isinstance(x, type) and issubclass(x, PreTrainedModel)]
    own = [model for model in models if model.__module__ == module.__name__]
    return not own or own[0]._can_set_attn_implementation()


def _options(mask_function: Callable, padding: _Padding, extent: _Extent) -> dict[str, Any]:
    """Arguments of regard.attention; none at all where every query sees every key."""
    options: dict[str, Any] = {} if padding.kv_lens is None else {"kv_lens": padding.kv_lens}
    mask = _joined(operator.and_, [_structure(mask_function, extent), padding.mask(extent)], extent.batch)
    if isinstance(mask, list):
        mask = masks.per_sequence([masks.full() if one is None else one for one in mask])
    return options if mask is None else {"mask": mask, "q_offset": extent.q_begin, **options}


@dataclass(frozen=True)
class _Padding:
    """What a 2-D padding mask leaves of the keys: kv_lens cut it behind, a mask in front and in between."""

    kv_lens: list[int] | None
    kv_end: int
    firsts: list[int] | None = None  # of each sequence, where any is not 0
    allowed: torch.Tensor | None = None  # (batch, kv_len), where padding lies between tokens

    @staticmethod
    def of(attention_mask: torch.Tensor | None, kv_begin: int, kv_len: int) -> _Padding:
        if attention_mask is None:
            return _Padding(None, kv_len)
        allowed = attention_mask[:, kv_begin : kv_begin + kv_len]
        num_keys = allowed.shape[1]
        if bool(allowed.all()):
            return _Padding(None if num_keys == kv_len else [num_keys] * allowed.shape[0], num_keys)
        position = torch.arange(num_keys)
        lens = (allowed * (position + 1)).amax(1)
        firsts = torch.where(lens == 0, 0, num_keys - (allowed * (num_keys - position)).amax(1))
        kv_lens = lens.tolist()
        if not torch.equal(allowed.sum(1), lens - firsts):
            allowed = torch.nn.functional.pad(allowed, (0, kv_len - num_keys))
            return _Padding(kv_lens, max(kv_lens), allowed=allowed)
        return _Padding(kv_lens, max(kv_lens), firsts=firsts.tolist() if bool(firsts.any()) else None)

    def mask(self, extent: _Extent) -> _Masks:
        if self.allowed is not None:  # one row for all queries: no memory for each
            rows = self.allowed[:, None, None].expand(-1, 1, extent.q_len, -1)
            return masks.dense(rows, q_begin=extent.q_begin)
        if self.firsts is None:
            return None
        return [~masks.prefix(n) if n else None for n in self.firsts]


def _structure(function: Callable, extent: _Extent) -> _Masks:
    """The mask that a function of transformers means, told from the function it is; _Unknown otherwise."""
    structure = _STRUCTURES.get(_name(function))
    if structure is None:
        raise _Unknown(function)
    return structure(extent, **_captured(function))


def _name(function: Callable) -> str:
    """Which function of transformers it is, or which one made it: "masking_utils.sliding_window_overlay"."""
    module = getattr(function, "__module__", "").removeprefix("transformers.")
    return f"{module}.{getattr(function, '__qualname__', '').partition('.')[0]}"


def _captured(function: Callable) -> dict[str, Any]:
    cells = (cell.cell_contents for cell in function.__closure__ or ())
    return dict(zip(function.__code__.co_freevars, cells, strict=True))


def _joined(operation: Callable, parts: list[_Masks], batch: int) -> _Masks:
    """All parts by & or |, sequence by sequence where one differs between sequences."""
    if any(isinstance(part, list) for part in parts):
        rows = [part if isinstance(part, list) else [part] * batch for part in parts]
        return [_joined(operation, list(row), batch) for row in zip(*rows, strict=True)]
    limiting = [part for part in parts if part is not None]
    if operation is operator.or_ and len(limiting) < len(parts):
        return None
    return reduce(operation, limiting) if limiting else None


def _causal(extent: _Extent) -> _Masks:
    return masks.causal() if extent.q_begin < extent.kv_end - 1 else None


def _window(extent: _Extent, left: int, right: int | None) -> _Masks:
    """q - left <= k <= q + right, where that hides a key at all."""
    hides_left = extent.q_begin + extent.q_len - 1 > left
    hides_right = right is not None and extent.q_begin + right < extent.kv_end - 1
    if not hides_left and not hides_right:
        return None
    return masks.window(left if hides_left else None, right if hides_right else None)


def _everything(extent: _Extent) -> _Masks:
    return None


def _open_window(extent: _Extent, sliding_window: int) -> _Masks:
    return _window(extent, sliding_window - 1, sliding_window - 1)


def _two_sided(extent: _Extent, sliding_window: int | tuple[int, int], is_causal: bool = True) -> _Masks:
    """The window of models that count the query itself on either side."""
    if not isinstance(sliding_window, int):
        left, right = sliding_window
    elif is_causal:
        left, right = sliding_window, 0
    else:
        left, right = (sliding_window + 1) // 2, sliding_window // 2 + 1
    if left < 1:
        raise _Unknown("a window without the query")
    return _window(extent, left - 1, max(right - 1, 0))


def _documents(extent: _Extent, ids: torch.Tensor) -> _Masks:
    """ids (batch or 1, tokens), one per position: queries see the keys with their own."""
    ids = ids[:, extent.kv_span]
    if extent.q_begin < 0 or extent.q_begin + extent.q_len > ids.shape[1] or ids.shape[1] < extent.kv_len:
        raise _Unknown("queries outside of the documents")
    if bool((ids == ids[:, :1]).all()):
        return None
    ids = ids.long().contiguous()
    if bool((ids == ids[:1]).all()):
        return masks.document(ids[0])
    return [masks.document(row) for row in ids]


def _chunks(extent: _Extent, chunk_size: int, left_padding: torch.Tensor) -> _Masks:
    position = torch.arange(extent.kv_begin + extent.kv_len)
    return _documents(extent, (position - left_padding[:, None]) // chunk_size)


def _blocks(extent: _Extent, block_sequence_ids: torch.Tensor) -> _Masks:
    """Tokens of a block see each other; those outside of any (-1) see themselves, which every mask that this
    joins by | allows anyway."""
    alone = -1 - torch.arange(block_sequence_ids.shape[1])
    return _documents(extent, torch.where(block_sequence_ids < 0, alone, block_sequence_ids))


def _all_of(extent: _Extent, mask_functions: tuple[Callable, ...]) -> _Masks:
    if [_name(f) for f in mask_functions] == [f"{_UTILS}.packed_sequence_mask_function", _REMAP]:
        mask_functions = _unmapped(*map(_captured, mask_functions)), *mask_functions[:1]
    return _joined(operator.and_, [_structure(f, extent) for f in mask_functions], extent.batch)


def _unmapped(packed: dict[str, Any], remapped: dict[str, Any]) -> Callable:
    """The function for positions that begin anew in every document: as they count up in each, it may be asked
    for those of the whole, if it minds only their distance."""
    counts_up = remapped["position_ids"].diff(dim=1) == 1
    begins = packed["packed_sequence_mask"].diff(dim=1) != 0
    if not _is_relative(remapped["mask_function"]) or not bool((counts_up | begins).all()):
        raise _Unknown("positions of packed sequences")
    return remapped["mask_function"]


def _is_relative(function: Callable) -> bool:
    if _name(function) == f"{_UTILS}.and_masks":
        return all(_is_relative(f) for f in _captured(function)["mask_functions"])
    return _name(function) in _RELATIVE


def _any_of(extent: _Extent, mask_functions: tuple[Callable, ...]) -> _Masks:
    blocks = f"{_UTILS}.blockwise_overlay"
    parts = [
        _blocks(extent, **_captured(f)) if _name(f) == blocks else _structure(f, extent)
        for f in mask_functions
    ]
    return _joined(operator.or_, parts, extent.batch)


# They have the interface, but join the mask with a bias of their own as if both were numbers.
_WANT_FLOATS = {"deepseek_v4"}
_UTILS = "masking_utils"
_REMAP = f"{_UTILS}.remap_positions_for_packed_sequence"
_RELATIVE = {
    f"{_UTILS}.bidirectional_mask_function": _everything,
    f"{_UTILS}.causal_mask_function": _causal,
    f"{_UTILS}.sliding_window_overlay": lambda extent, sliding_window: _window(
        extent, sliding_window - 1, None
    ),
    f"{_UTILS}.sliding_window_bidirectional_overlay": lambda extent, sliding_window: _window(
        extent, sliding_window, sliding_window
    ),
}
_STRUCTURES = {
    **_RELATIVE,
    f"{_UTILS}.and_masks": _all_of,
    f"{_UTILS}.or_masks": _any_of,
    f"{_UTILS}.chunked_overlay": _chunks,
    f"{_UTILS}.packed_sequence_mask_function": lambda extent, packed_sequence_mask: _documents(
        extent, packed_sequence_mask
    ),
}
for _model in ("gemma4", "moonshine_streaming", "t5gemma2"):
    _STRUCTURES[f"models.{_model}.modeling_{_model}.sliding_window_mask_function"] = _two_sided
for _model, _class in (("gemma3", "Gemma3TextModel"), ("step3p7", "Step3p7TextModel")):
    _STRUCTURES[f"models.{_model}.modeling_{_model}._bidirectional_window_overlay"] = _open_window
    _STRUCTURES[f"models.{_model}.modeling_{_model}.{_class}"] = _everything  # a lambda of its forward
