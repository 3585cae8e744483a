"""A mask that travels through models as a tensor and reaches regard as its structure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class StructuredMask(torch.Tensor):
    """A boolean (batch, 1, q_len, kv_len), True = may attend, that is made only when something reads it.

    regard reads ``options`` instead, arguments of regard.attention. To any other operation of PyTorch it is
    the tensor that SDPA would have got.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, shape: tuple[int, ...], options: dict[str, Any], make: Callable[[], torch.Tensor]):
        self = torch.Tensor._make_wrapper_subclass(cls, shape, dtype=torch.bool)
        self.options = options
        self._make = make
        self._dense = None
        return self

    def dense(self) -> torch.Tensor:
        """The booleans, made once."""
        if self._dense is None:
            self._dense = self._make()
        return self._dense

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        if func in _VIEWS and (view := _VIEWS[func](*args)) is not None:
            return view
        if _takes_for_numbers(func, args, kwargs or {}):
            raise ValueError(f"regard: the model {NOT_CHOSEN}")
        if isinstance(args[0], cls) and any(result.alias_info for result in func._schema.returns):
            args[0].options = {"mask": args[0].dense()}  # somebody may write to what they get
        made = [_made(arg) for arg in args]
        result = func(*made, **{name: _made(arg) for name, arg in (kwargs or {}).items()})
        return args[0] if result is made[0] else result

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in self.options.items())
        return f"StructuredMask({tuple(self.shape)}, {options or 'full'})"


def _made(arg: Any) -> Any:
    if isinstance(arg, (list, tuple)):
        return type(arg)(_made(item) for item in arg)
    return arg.dense() if isinstance(arg, StructuredMask) else arg


def _takes_for_numbers(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """What models do that have no other attention than their own, whose masks are what is added to scores.

    transformers gives them a mask for whatever attention was asked for; with booleans they would be silently
    wrong.
    """
    if func is torch.ops.aten._to_copy.default:
        return (kwargs.get("dtype") or torch.bool).is_floating_point
    if func.overloadpacket is torch.ops.aten.masked_fill:
        return isinstance(args[1], StructuredMask)
    numbers = (isinstance(x, float) or (isinstance(x, torch.Tensor) and x.is_floating_point()) for x in args)
    return func.overloadpacket in _ARITHMETIC and any(numbers)


def _whole(mask: StructuredMask) -> StructuredMask:
    return StructuredMask(mask.shape, mask.options, mask.dense)


def _sliced(
    mask: StructuredMask, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
):
    """Some of the queries, or the first of the keys; anything else is not worth a structure."""
    start, end, step = slice(start, end, step).indices(mask.shape[dim])
    if (start, end, step) == (0, mask.shape[dim], 1):
        return _whole(mask)
    is_dense = isinstance(mask.options.get("mask"), torch.Tensor)
    if is_dense or dim < 2 or step != 1 or (dim == 3 and start != 0):
        return None
    shape, options = list(mask.shape), dict(mask.options)
    shape[dim] = max(end - start, 0)
    if dim == 2 and "q_offset" in options:
        options["q_offset"] += start
    if dim == 3 and "kv_lens" in options:
        options["kv_lens"] = [min(n, end) for n in options["kv_lens"]]
    return StructuredMask(shape, options, lambda: mask.dense().narrow(dim, start, shape[dim]))


def _expanded(mask: StructuredMask, shape: list[int], implicit: bool = False):
    """Only over heads, which share the mask anyway."""
    shape = [mask.shape[i] if n == -1 else n for i, n in enumerate(shape)] if len(shape) == 4 else shape
    if shape[:1] + shape[2:] != [mask.shape[0], *mask.shape[2:]]:
        return None
    return StructuredMask(shape, mask.options, lambda: mask.dense().expand(shape))


NOT_CHOSEN = (
    'computes scores with its mask itself, so its attention cannot be chosen: use attn_implementation="eager"'
)
_ARITHMETIC = {torch.ops.aten.add, torch.ops.aten.sub, torch.ops.aten.mul}
_VIEWS = {
    torch.ops.aten.alias.default: _whole,
    torch.ops.aten.detach.default: _whole,
    torch.ops.aten.slice.Tensor: _sliced,
    torch.ops.aten.expand.default: _expanded,
}
