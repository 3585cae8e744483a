# tests/python/typing_snippets.py - checked by mypy --strict, not run: what is right passes, what is wrong is ignored by its code.
import numpy as np
from numpy.typing import NDArray

import regard
from regard import masks

Floats = NDArray[np.float32]


def right(q: Floats, k: Floats, v: Floats) -> None:
    out: Floats = regard.attention(q, k, v, causal=True, window=(3, None), scale=0.5, q_offset=[1, 2], kv_lens=np.array([3]))
    pair: tuple[Floats, Floats] = regard.attention(q, k, v, return_lse=True, out=out)
    mask: masks.Mask = masks.causal() & (masks.prefix(4) | ~masks.window(1, 0))
    regard.attention(q, k, v, mask=mask, sinks=[0.0, 1.0], num_threads=2)
    seen: Floats = regard.weights(q, k, rows=[0, -1])
    text: str = regard.plan(q, k, v).explain()
    state: regard.AttentionState = regard.merge([regard.partial_attention(q, k, v, kv_offset=256)])
    turned: Floats = regard.rope(q, 3, style="interleaved")
    look: regard.Look = regard.look("text")
    print(pair, seen, text, state.finish(), turned, look.top(3))


def wrong(q: Floats, k: Floats, v: Floats) -> None:
    regard.attention(q, k)  # type: ignore[call-overload]
    regard.attention(q, k, v, causl=True)  # type: ignore[call-overload]
    regard.attention(q, k, v, window=3)  # type: ignore[call-overload]
    regard.attention(q, k, v, scale="1")  # type: ignore[call-overload]
    lse: Floats = regard.attention(q, k, v, return_lse=True)  # type: ignore[assignment]
    masks.causal() & 3  # type: ignore[operator]
    masks.prefix("4")  # type: ignore[arg-type]
    regard.rope(q, 0, style="other")  # type: ignore[arg-type]
    regard.look("text").nothing  # type: ignore[attr-defined]
    print(lse)
