# python/regard/_engine.pyi - the types of the engine's module; tests/python/typing_test.py holds it to the module itself.
import os
from collections.abc import Sequence
from typing import Any, Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

__version__: str

Array = TypeVar("Array")  # of NumPy, PyTorch, JAX: what came in comes out
_Integers = Sequence[int] | NDArray[np.integer[Any]] | Any
_Numbers = Sequence[float] | NDArray[np.floating[Any]] | Any
_Window = tuple[int | None, int | None] | None

class Mask:
    def __and__(self, other: Mask, /) -> Mask: ...
    def __or__(self, other: Mask, /) -> Mask: ...
    def __invert__(self) -> Mask: ...
    def allows(self, q: int, kv: int) -> bool: ...
    def draw(self, q_len: int, kv_len: int | None = None, q_offset: int = 0) -> str: ...
    def _repr_svg_(self) -> str: ...

def full() -> Mask: ...
def causal() -> Mask: ...
def window(left: int | None = None, right: int | None = None) -> Mask: ...
def prefix(length: int) -> Mask: ...
def strided(stride: int) -> Mask: ...
def document(ids: _Integers) -> Mask: ...
def block(map: Any, q_block: int, kv_block: int) -> Mask: ...
def dense(allowed: Any, q_begin: int = 0) -> Mask: ...
def per_sequence(masks: Sequence[Mask]) -> Mask: ...
def parse(text: str) -> Mask: ...
@overload
def attention(
    query: Array,
    key: Array,
    value: Array,
    *,
    causal: bool = False,
    window: _Window = None,
    mask: Mask | Array | None = None,
    bias: Array | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    alibi_slopes: _Numbers | None = None,
    sinks: _Numbers | None = None,
    q_offset: int | _Integers | None = None,
    kv_lens: _Integers | None = None,
    cu_seqlens_q: _Integers | None = None,
    cu_seqlens_kv: _Integers | None = None,
    return_lse: Literal[False] = False,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array: ...
@overload
def attention(
    query: Array,
    key: Array,
    value: Array,
    *,
    causal: bool = False,
    window: _Window = None,
    mask: Mask | Array | None = None,
    bias: Array | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    alibi_slopes: _Numbers | None = None,
    sinks: _Numbers | None = None,
    q_offset: int | _Integers | None = None,
    kv_lens: _Integers | None = None,
    cu_seqlens_q: _Integers | None = None,
    cu_seqlens_kv: _Integers | None = None,
    return_lse: Literal[True],
    out: Array | None = None,
    num_threads: int | None = None,
) -> tuple[Array, Array]: ...
@overload
def attention(
    query: Array,
    key: Array,
    value: Array,
    *,
    causal: bool = False,
    window: _Window = None,
    mask: Mask | Array | None = None,
    bias: Array | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    alibi_slopes: _Numbers | None = None,
    sinks: _Numbers | None = None,
    q_offset: int | _Integers | None = None,
    kv_lens: _Integers | None = None,
    cu_seqlens_q: _Integers | None = None,
    cu_seqlens_kv: _Integers | None = None,
    return_lse: bool,
    out: Array | None = None,
    num_threads: int | None = None,
) -> Array | tuple[Array, Array]: ...
def plan(
    query: Array,
    key: Array,
    value: Array,
    *,
    causal: bool = False,
    window: _Window = None,
    mask: Mask | Array | None = None,
    bias: Array | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    alibi_slopes: _Numbers | None = None,
    sinks: _Numbers | None = None,
    q_offset: int | _Integers | None = None,
    kv_lens: _Integers | None = None,
    cu_seqlens_q: _Integers | None = None,
    cu_seqlens_kv: _Integers | None = None,
    num_threads: int | None = None,
) -> Plan: ...
def weights(
    query: Array,
    key: Array,
    *,
    rows: int | _Integers | None = None,
    causal: bool = False,
    window: _Window = None,
    mask: Mask | Array | None = None,
    bias: Array | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    alibi_slopes: _Numbers | None = None,
    sinks: _Numbers | None = None,
    q_offset: int | _Integers | None = None,
    kv_lens: _Integers | None = None,
    num_threads: int | None = None,
) -> Array: ...
def partial_attention(
    query: Array,
    key: Array,
    value: Array,
    *,
    kv_offset: int = 0,
    causal: bool = False,
    window: _Window = None,
    mask: Mask | Array | None = None,
    bias: Array | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    alibi_slopes: _Numbers | None = None,
    q_offset: int | _Integers | None = None,
    kv_lens: _Integers | None = None,
    num_threads: int | None = None,
) -> AttentionState: ...
def merge(states: Sequence[AttentionState]) -> AttentionState: ...
def rope(
    x: Array,
    positions: int | _Integers,
    *,
    base: float = 10000.0,
    style: Literal["half_split", "interleaved"] = "half_split",
    rotary_dim: int | None = None,
    scaling: dict[str, Any] | None = None,
    out: Array | None = None,
) -> Array: ...

class AttentionState:
    @property
    def shape(self) -> tuple[int, int, int, int]: ...
    def finish(self, sinks: _Numbers | None = None) -> tuple[Any, Any]: ...

class Plan:
    def explain(self) -> str: ...
    @property
    def mask(self) -> Mask: ...
    @property
    def isa(self) -> str: ...
    @property
    def workspace_bytes(self) -> int: ...
    @property
    def tiles_full(self) -> int: ...
    @property
    def tiles_partial(self) -> int: ...
    @property
    def tiles_skipped(self) -> int: ...
    @property
    def flops(self) -> float: ...
    @property
    def cache_bytes(self) -> float: ...

def _run_look(
    text: str, model: str, truncate: bool
) -> tuple[str, list[tuple[str, int, int, bool]], NDArray[np.float32]]: ...
def _look_page(
    model: str, text: str, tokens: list[tuple[str, int, int, bool]], weights: NDArray[np.float32], path: str
) -> str: ...

class CacheFull(MemoryError): ...

class PagedKvCache:
    def __init__(
        self,
        *,
        num_kv_heads: int,
        head_dim: int,
        value_dim: int | None = None,
        num_layers: int = 1,
        dtype: str = "f32",
        page_size: int = 64,
        budget_bytes: int = ...,
        fingerprint: str = "",
    ) -> None: ...
    def create(self, *, owner: str = "", share_with: str = "") -> int: ...
    def fork(self, sequence: int) -> int: ...
    def release(self, sequence: int) -> None: ...
    def length(self, sequence: int) -> int: ...
    def append(self, sequence: int, key: Any, value: Any) -> int: ...
    def extend(self, sequence: int, count: int) -> int: ...
    def write(self, layer: int, sequence: int, position: int, key: Any, value: Any) -> None: ...
    def read(self, sequence: int, layer: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...
    def truncate(self, sequence: int, length: int) -> None: ...
    def evict(self, sequence: int, keep_first: int, keep_last: int) -> None: ...
    def publish(self, sequence: int, ids: _Integers) -> None: ...
    def adopt(self, sequence: int, ids: _Integers) -> int: ...
    def attention(
        self,
        query: Array,
        sequences: int | _Integers,
        *,
        layer: int = 0,
        causal: bool = False,
        window: _Window = None,
        mask: Mask | None = None,
        scale: float | None = None,
        softcap: float | None = None,
        num_threads: int | None = None,
    ) -> Array: ...
    def stats(self) -> dict[str, int]: ...
    def save(self, sequence: int, file: str | os.PathLike[str], ids: _Integers | None = None) -> None: ...
    def load(self, file: str | os.PathLike[str], *, owner: str = "", share_with: str = "") -> tuple[int, list[int]]: ...
    def save_all(self, file: str | os.PathLike[str]) -> None: ...
    def load_all(self, file: str | os.PathLike[str]) -> list[tuple[int, list[int]]]: ...

class _Model: ...

class _Generation:
    def __init__(
        self,
        model: _Model,
        messages: list[tuple[str, str]],
        raw: bool,
        stop: list[str],
        options: dict[str, Any],
        num_threads: int | None,
    ) -> None: ...
    def prompt(self) -> None: ...
    def next(self) -> tuple[int, str] | None: ...
    @property
    def prompt_ids(self) -> list[int]: ...
    @property
    def ids(self) -> list[int]: ...
    @property
    def rest(self) -> str: ...
    @property
    def stop(self) -> str: ...
    @property
    def stats(self) -> dict[str, Any]: ...

def _model_file(name: str) -> str: ...
def _load_model(name: str) -> _Model: ...
