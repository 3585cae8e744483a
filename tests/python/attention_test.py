# tests/python/attention_test.py - regard.attention and what goes with it, on NumPy arrays, against the definition.
import gc
import math
import os
import signal
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest

import regard
from regard import masks


def definition(query, key, value, allowed=None, bias=None, scale=None, softcap=None, slopes=None, sinks=None, q_offset=0):
    """(out, lse, weights) in float64; all of rank 4; a row that sees nothing is 0."""
    q, k, v = (np.asarray(x, np.float64) for x in (query, key, value))
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, 1), np.repeat(v, group, 1)
    scores = np.einsum("bhnd,bhmd->bhnm", q, k) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if softcap is not None:
        scores = softcap * np.tanh(scores / softcap)
    distance = np.abs(q_offset + np.arange(q.shape[2])[:, None] - np.arange(k.shape[2]))
    if slopes is not None:
        scores = scores - np.asarray(slopes, np.float64)[:, None, None] * distance
    if bias is not None:
        scores = scores + np.asarray(bias, np.float64)
    if allowed is not None:
        scores = np.where(np.broadcast_to(allowed, scores.shape), scores, -np.inf)
    sink = np.full(q.shape[1], -np.inf) if sinks is None else np.asarray(sinks, np.float64)
    top = np.maximum(scores.max(-1, initial=-np.inf), sink[:, None])
    with np.errstate(invalid="ignore", divide="ignore"):
        weights = np.where(np.isneginf(scores), 0, np.exp(scores - np.where(np.isneginf(top), 0, top)[..., None]))
        total = weights.sum(-1) + np.exp(sink[:, None] - top) * ~np.isneginf(top)
        weights = np.where(total[..., None] > 0, weights / total[..., None], 0)
        lse = np.where(total > 0, top + np.log(total), -np.inf)
    return np.einsum("bhnm,bhme->bhne", weights, v), lse, weights


def tensors(batch=2, heads=4, kv_heads=2, q_len=9, kv_len=33, head_dim=16, value_dim=24, seed=0):
    random = np.random.default_rng(seed)
    return (
        random.standard_normal((batch, heads, q_len, head_dim), np.float32),
        random.standard_normal((batch, kv_heads, kv_len, head_dim), np.float32),
        random.standard_normal((batch, kv_heads, kv_len, value_dim), np.float32),
    )


def close(came, wanted, bound=4e-6):
    assert came.shape == wanted.shape
    assert np.abs(came - wanted).max(initial=0) <= bound


def allowed_by(mask, q_len, kv_len, q_offset=0):
    return np.array([[mask.allows(q + q_offset, k) for k in range(kv_len)] for q in range(q_len)], bool).reshape(q_len, kv_len)


SLOPES = [0.5, 0.25, 0.125, 0.0625]


@pytest.mark.parametrize(
    "ours, theirs",
    [
        ({}, {}),
        (dict(scale=-0.3), dict(scale=-0.3)),
        (dict(softcap=1.5), dict(softcap=1.5)),
        (dict(alibi_slopes=SLOPES, q_offset=24), dict(slopes=SLOPES, q_offset=24)),
        (dict(sinks=[0.0, 1.0, -3.0, 5.0]), dict(sinks=[0.0, 1.0, -3.0, 5.0])),
        (dict(bias=np.linspace(-2, 2, 33, dtype=np.float32)[None]), dict(bias=np.linspace(-2, 2, 33)[None])),
        (dict(softcap=2.0, alibi_slopes=SLOPES, q_offset=0, sinks=np.ones(4)), dict(softcap=2.0, slopes=SLOPES, sinks=np.ones(4))),
    ],
    ids=["plain", "scale", "softcap", "alibi", "sinks", "bias", "all"],
)
def test_scores(ours, theirs):
    q, k, v = tensors()
    wanted, wanted_lse, wanted_weights = definition(q, k, v, **theirs)
    out, lse = regard.attention(q, k, v, return_lse=True, **ours)
    assert out.dtype == np.float32 and lse.dtype == np.float32
    close(out, wanted)
    close(lse, wanted_lse)
    close(regard.weights(q, k, **ours), wanted_weights, 1e-6)


MASKS = {
    "causal": dict(causal=True, q_offset=24),
    "window": dict(window=(5, 2), q_offset=24),
    "left alone": dict(window=(5, None), q_offset=3),
    "both": dict(causal=True, window=(7, None), q_offset=24),
    "negative offset": dict(causal=True, q_offset=-4),
    "prefix": dict(mask=masks.prefix(11), q_offset=0),
    "expression": dict(mask=masks.causal() & (masks.prefix(4) | masks.window(6, 0)), q_offset=24),
    "not": dict(mask=~masks.strided(3), q_offset=0),
    "documents": dict(mask=masks.document([0] * 12 + [1] * 20 + [2]), q_offset=4),
    "block": dict(mask=masks.block(np.array([[True, False], [True, True]]), 5, 20), q_offset=0),
}


@pytest.mark.parametrize("options", MASKS.values(), ids=MASKS)
def test_masks(options):
    q, k, v = tensors()
    full = masks.full()
    if options.get("causal"):
        full &= masks.causal()
    if "window" in options:
        full &= masks.window(*options["window"])
    if "mask" in options:
        full &= options["mask"]
    allowed = allowed_by(full, 9, 33, options["q_offset"])
    wanted, wanted_lse, weights = definition(q, k, v, allowed)
    out, lse = regard.attention(q, k, v, return_lse=True, **options)
    close(out, wanted)
    assert np.array_equal(np.isneginf(lse), np.isneginf(wanted_lse))
    close(regard.weights(q, k, **options), weights, 1e-6)
    plan = regard.plan(q, k, v, **options)
    assert np.array_equal(allowed_by(plan.mask, 9, 33, options["q_offset"]), allowed)
    assert str(plan.mask)[:40] in plan.explain()


@pytest.mark.parametrize("shape", [(9, 33), (1, 33), (9, 1), (4, 9, 33), (2, 1, 9, 33), (2, 4, 9, 33), (2, 1, 1, 33)], ids=str)
def test_arrays_as_mask_and_bias(shape):
    q, k, v = tensors()
    random = np.random.default_rng(1)
    allowed, bias = random.random(shape) > 0.4, random.standard_normal(shape, np.float32)
    close(regard.attention(q, k, v, mask=allowed), definition(q, k, v, allowed)[0])
    close(regard.attention(q, k, v, bias=bias), definition(q, k, v, bias=bias)[0])
    close(regard.attention(q, k, v, mask=allowed, bias=bias[..., ::1]), definition(q, k, v, allowed, bias)[0])
    strided = np.zeros((*shape[:-1], 2 * shape[-1]), bool)[..., ::2]
    strided[:] = allowed
    close(regard.attention(q, k, v, mask=strided), definition(q, k, v, allowed)[0])
    causal = allowed & allowed_by(masks.causal(), 9, 33, 24)
    close(regard.attention(q, k, v, mask=allowed, causal=True, q_offset=24), definition(q, k, v, causal)[0])
    close(regard.weights(q, k, mask=allowed, rows=[0, 5, 6]), definition(q, k, v, allowed)[2][:, :, [0, 5, 6]], 1e-6)


def test_a_mask_s_array_lives_as_long_as_the_mask():
    allowed = np.random.default_rng(2).random((9, 33)) > 0.5
    kept = weakref.ref(allowed)
    mask = masks.dense(allowed) & masks.full()
    q, k, v = tensors()
    wanted = definition(q, k, v, allowed)[0]
    del allowed
    gc.collect()
    assert kept() is not None
    close(regard.attention(q, k, v, mask=mask, q_offset=0), wanted)
    del mask
    gc.collect()
    assert kept() is None


def test_offsets_and_lengths_per_sequence():
    q, k, v = tensors()
    offsets, lengths = [3, 24], [12, 33]
    allowed = np.stack([allowed_by(masks.causal() & masks.prefix(n), 9, 33, o)[None] for o, n in zip(offsets, lengths)])
    wanted = definition(q, k, v, allowed)[0]
    for kind in (list, tuple, np.array, lambda x: np.array(x, np.int32)):
        close(regard.attention(q, k, v, causal=True, q_offset=kind(offsets), kv_lens=kind(lengths)), wanted)
    both = np.random.default_rng(3).random((2, 1, 9, 33)) > 0.5
    wanted = definition(q, k, v, allowed & both)[0]
    close(regard.attention(q, k, v, causal=True, q_offset=offsets, kv_lens=lengths, mask=both), wanted)
    padded = masks.per_sequence([~masks.prefix(5), masks.full()])
    wanted = definition(q, k, v, np.stack([allowed_by(~masks.prefix(5), 9, 33)[None], np.ones((1, 9, 33), bool)]))[0]
    close(regard.attention(q, k, v, mask=padded, q_offset=0), wanted)


def test_packed():
    lengths_q, lengths_kv = [4, 0, 7], [9, 3, 7]
    cu_q, cu_kv = np.cumsum([0, *lengths_q]), np.cumsum([0, *lengths_kv])
    random = np.random.default_rng(4)
    q = random.standard_normal((11, 4, 16), np.float32)
    k, v = random.standard_normal((19, 2, 16), np.float32), random.standard_normal((19, 2, 24), np.float32)
    offsets = [b - a for a, b in zip(lengths_q, lengths_kv)]
    out, lse = regard.attention(q, k, v, cu_seqlens_q=cu_q, cu_seqlens_kv=cu_kv, causal=True, q_offset=offsets, return_lse=True)
    assert out.shape == (11, 4, 24) and lse.shape == (4, 11)
    for i, offset in enumerate(offsets):
        rows, keys = slice(cu_q[i], cu_q[i + 1]), slice(cu_kv[i], cu_kv[i + 1])
        one = [x.transpose(1, 0, 2)[None] for x in (q[rows], k[keys], v[keys])]
        wanted, wanted_lse, _ = definition(*one, allowed_by(masks.causal(), lengths_q[i], lengths_kv[i], offset))
        close(out[rows].transpose(1, 0, 2)[None], wanted)
        close(lse[:, rows][None], wanted_lse)
    shorter = regard.attention(q, k, v, cu_seqlens_q=[0, 4], cu_seqlens_kv=[0, 9])
    assert np.array_equal(shorter[4:], np.zeros_like(shorter[4:])) and shorter[:4].any()


def test_fewer_axes():
    q, k, v = tensors(batch=1, heads=2, kv_heads=2)
    wanted = definition(q, k, v)[0]
    for axes in (1, 2):
        take = (0,) * axes
        out, lse = regard.attention(q[take], k[take], v[take], return_lse=True)
        close(out, wanted[take]) if axes == 1 else close(out, definition(q[:, :1], k[:, :1], v[:, :1])[0][0, 0])
        assert lse.shape == out.shape[:-1]
    assert regard.weights(q[0], k[0], rows=[0, -1]).shape == (2, 2, 33)
    assert regard.weights(q[0, 0], k[0, 0], rows=3).shape == (1, 33)


def test_nothing_to_do():
    """No batch, no queries, no keys: shapes as ever; without keys a query sees nothing."""
    for batch, q_len, kv_len in ((0, 3, 5), (2, 0, 5), (2, 3, 0)):
        q, k, v = tensors(batch=batch, q_len=q_len, kv_len=kv_len)
        out, lse = regard.attention(q, k, v, return_lse=True)
        assert out.shape == (batch, 4, q_len, 24) and lse.shape == (batch, 4, q_len)
        assert not out.any() or kv_len
        assert kv_len or np.isneginf(lse).all()
        assert regard.weights(q, k).shape == (batch, 4, q_len, kv_len)
        assert regard.weights(q, k, rows=[]).shape == (batch, 4, 0, kv_len)


def test_strides_make_no_difference():
    q, k, v = tensors(kv_heads=4, value_dim=16)
    wanted = regard.attention(q, k, v, causal=True, q_offset=24)
    layout = [np.ascontiguousarray(x.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3) for x in (q, k, v)]
    assert np.array_equal(regard.attention(*layout, causal=True, q_offset=24), wanted)
    wide = np.zeros((*q.shape[:-1], 40), np.float32)[..., 1:33:2]
    wide[:] = q
    assert np.array_equal(regard.attention(wide, k[:, :, ::-1][:, :, ::-1], v, causal=True, q_offset=24), wanted)
    back = regard.attention(q, k[:, :, ::-1], v[:, :, ::-1])
    close(back, definition(q, k, v)[0])
    one = np.broadcast_to(k[:, :1], k.shape)
    close(regard.attention(q, one, v), definition(q, one, v)[0])
    readonly = q.copy()
    readonly.flags.writeable = False
    assert np.array_equal(regard.attention(readonly, k, v, causal=True, q_offset=24), wanted)


def test_out():
    q, k, v = tensors()
    wanted = regard.attention(q, k, v)
    out = np.full((2, 9, 4, 24), 7, np.float32).transpose(0, 2, 1, 3)
    assert regard.attention(q, k, v, out=out) is out
    assert np.array_equal(out, wanted)
    half = np.empty(out.shape, np.float16)
    assert np.array_equal(regard.attention(q, k, v, out=half), wanted.astype(np.float16))
    fixed = np.empty(out.shape, np.float32)
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only"):
        regard.attention(q, k, v, out=fixed)
    with pytest.raises(ValueError, match=r"out is of shape \(2, 4, 9, 16\), expected \(2, 4, 9, 24\)"):
        regard.attention(q, k, v, out=np.empty((2, 4, 9, 16), np.float32))


def test_dtypes():
    q, k, v = tensors()
    half = [x.astype(np.float16) for x in (q, k, v)]
    out = regard.attention(*half)
    assert out.dtype == np.float16
    close(out, definition(*half)[0], 2e-3)
    mixed = regard.attention(q, half[1], half[2])
    assert mixed.dtype == np.float32
    close(mixed, definition(q, half[1], half[2])[0])


def test_bfloat16_of_ml_dtypes():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    brain = [x.astype(ml_dtypes.bfloat16) for x in tensors()]
    out = regard.attention(*brain)
    assert out.dtype == ml_dtypes.bfloat16
    close(out.astype(np.float32), definition(*brain)[0], 2e-2)


def test_jax():
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    q, k, v = tensors()
    out = regard.attention(*(jax.numpy.asarray(x) for x in (q, k, v)))
    assert isinstance(out, jax.Array)
    close(np.asarray(out), definition(q, k, v)[0])


def test_the_same_bits_for_any_number_of_threads():
    q, k, v = tensors(q_len=200, kv_len=700)
    wanted = regard.attention(q, k, v, causal=True, q_offset=500, num_threads=1)
    for threads in (2, 3, 4, None):
        assert np.array_equal(regard.attention(q, k, v, causal=True, q_offset=500, num_threads=threads), wanted)
    one = regard.attention(q[:1, :, 60:61], k[:1], v[:1], causal=True, q_offset=560)
    assert np.array_equal(one, wanted[:1, :, 60:61])


def test_parts_merge_to_the_whole():
    q, k, v = tensors(q_len=5, kv_len=900)
    wanted, wanted_lse = regard.attention(q, k, v, causal=True, q_offset=895, return_lse=True, sinks=[1.0, 2.0, 3.0, 4.0])
    states = [
        regard.partial_attention(q, k[:, :, a : a + 256], v[:, :, a : a + 256], kv_offset=a, causal=True, q_offset=895)
        for a in range(0, 900, 256)
    ]
    assert states[0].shape == (2, 4, 5, 24)
    out, lse = regard.merge(states).finish(sinks=[1.0, 2.0, 3.0, 4.0])
    assert np.array_equal(out, wanted) and np.array_equal(lse, wanted_lse)
    alone, _ = regard.merge(states[:1]).finish()
    close(alone, definition(q, k[:, :, :256], v[:, :, :256])[0])


def test_rope():
    x = np.random.default_rng(5).standard_normal((2, 3, 7, 16), np.float32)
    angles = np.arange(4, 11)[:, None] * 10000.0 ** (-np.arange(8) / 8)
    a, b = x[..., :8].astype(np.float64), x[..., 8:].astype(np.float64)
    wanted = np.concatenate([a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles)], -1)
    close(regard.rope(x, 4), wanted)
    close(regard.rope(x, np.arange(4, 11)), wanted)
    close(regard.rope(x, np.tile(np.arange(4, 11), (2, 1))), wanted)
    close(regard.rope(x[0], list(range(4, 11))), wanted[0])
    pairs = x.reshape(2, 3, 7, 8, 2)
    turned = regard.rope(np.concatenate([pairs[..., 0], pairs[..., 1]], -1), 4)
    close(regard.rope(x, 4, style="interleaved"), np.stack([turned[..., :8], turned[..., 8:]], -1).reshape(x.shape))
    half = regard.rope(x, 4, rotary_dim=8)
    assert np.array_equal(half[..., 8:], x[..., 8:])
    close(regard.rope(x, 8, scaling={"rope_type": "linear", "factor": 2.0})[:, :, :1], regard.rope(x, 4)[:, :, :1])
    inplace = x.copy()
    assert regard.rope(inplace, 4, out=inplace) is inplace
    close(inplace, wanted)
    for wrong, words in [
        (dict(style="x"), "rope: style is 'x'"),
        (dict(scaling={"rope_type": "yarm"}), "rope_type.* is 'yarm'"),
        (dict(scaling={"rope_type": "linear"}), "factor.* is missing"),
        (dict(scaling={"rope_type": "linear", "factor": 2, "fast": 1}), "fast.* is unknown"),
        (dict(rotary_dim=3), "rotary_dim is 3"),
    ]:
        with pytest.raises(ValueError, match=words):
            regard.rope(x, 4, **wrong)


def test_masks_say_what_they_are():
    mask = masks.causal() & (masks.prefix(4) | ~masks.window(4096, 0))
    assert str(mask) == "(causal & (prefix(4) | !window(4096, 0)))"
    assert str(masks.parse(str(mask))) == str(mask)
    assert repr(masks.window(None, 3)) == "<regard mask window(*, 3)>"
    assert masks.causal().draw(3).splitlines()[3:6] == ["0  #..", "1  ##.", "2  ###"]
    assert masks.causal()._repr_svg_().startswith("<svg")
    with pytest.raises(TypeError, match="no truth value"):
        bool(mask)
    with pytest.raises(TypeError, match="no truth value"):
        mask and mask


Q = np.zeros((1, 2, 3, 8), np.float32)
K = np.zeros((1, 2, 5, 8), np.float32)
Q2, K2 = np.zeros((2, 2, 3, 8), np.float32), np.zeros((2, 2, 5, 8), np.float32)
T = np.zeros((3, 2, 8), np.float32)  # tokens, heads, head_dim
WRONG = [
    (lambda: regard.attention(), TypeError, "attention: query is missing"),
    (lambda: regard.attention(Q, K), TypeError, "attention: value is missing"),
    (lambda: regard.attention(Q, K, K, True), TypeError, "4 arguments came by position, expected at most 3"),
    (lambda: regard.attention(Q, K, K, causl=True), TypeError, "no argument 'causl'; did you mean \"causal\""),
    (lambda: regard.attention(Q, K, K, query=Q), TypeError, "query came twice"),
    (lambda: regard.attention(None, K, K), TypeError, "query is a NoneType, expected an array"),
    (lambda: regard.attention([[1.0]], K, K), TypeError, "query is a list, expected an array"),
    (lambda: regard.attention("q", K, K), TypeError, "query is a str, expected an array"),
    (lambda: regard.attention(Q.astype(np.float64), K, K), TypeError, "query is float64, expected float32, bfloat16 or float16"),
    (lambda: regard.attention(Q, K.astype(np.int32), K), TypeError, "key is int32"),
    (lambda: regard.attention(Q, K, K.astype(complex)), TypeError, "value is complex128"),
    (lambda: regard.attention(Q, K, np.zeros(K.shape, object)), TypeError, "value is object"),
    (lambda: regard.attention(Q, K, np.zeros(K.shape, ">f4")), TypeError, "value is >f4"),
    (lambda: regard.attention(Q[0, 0, 0], K, K), ValueError, r"query is of shape \(8,\)"),
    (lambda: regard.attention(Q[None], K, K), ValueError, r"query is of shape \(1, 1, 2, 3, 8\)"),
    (lambda: regard.attention(Q, K[0], K), ValueError, "key is of shape .* expected 4 axes"),
    (lambda: regard.attention(Q, K[..., :4], K), ValueError, r"key.shape\[3\] is 4, expected 8"),
    (lambda: regard.attention(Q, K, K[:, :, :2]), ValueError, r"value.shape\[2\] is 2, expected 5"),
    (lambda: regard.attention(Q, K, K[:, :1]), ValueError, r"value.shape\[1\] is 1, expected 2"),
    (lambda: regard.attention(Q[:, :1], K, K), ValueError, "num_heads is 1, expected a multiple"),
    (lambda: regard.attention(Q[..., :0], K[..., :0], K), ValueError, "head_dim is 0, expected 1..1024"),
    (lambda: regard.attention(Q, K, K, causal=True), ValueError, "q_offset is not given"),
    (lambda: regard.attention(Q, K, K, window=(1, 1)), ValueError, "q_offset is not given"),
    (lambda: regard.attention(Q, K, K, causal="yes"), TypeError, "causal is a str, expected True or False"),
    (lambda: regard.attention(Q, K, K, causal=1), TypeError, "causal is a int"),
    (lambda: regard.attention(Q, K, K, window=4), TypeError, "window is a int, expected a pair"),
    (lambda: regard.attention(Q, K, K, window=(1, 2, 3)), TypeError, "window is a tuple, expected a pair"),
    (lambda: regard.attention(Q, K, K, window=(1.5, 2)), TypeError, r"window\[0\] is a float"),
    (lambda: regard.attention(Q, K, K, mask="causal"), TypeError, "mask is a str"),
    (lambda: regard.attention(Q, K, K, mask=np.zeros((3, 5))), TypeError, "mask is of another type than bool"),
    (lambda: regard.attention(Q, K, K, mask=np.zeros((3, 4), bool)), ValueError, r"mask.shape\[-1\] is 4, expected 1 or 5 \(kv_len\)"),
    (lambda: regard.attention(Q, K, K, mask=np.zeros((4, 5), bool)), ValueError, r"mask.shape\[-2\] is 4, expected 1 or 3 \(q_len\)"),
    (lambda: regard.attention(Q, K, K, mask=np.zeros((3, 3, 5), bool)), ValueError, r"mask.shape\[1\] is 3, expected 1 or 2"),
    (lambda: regard.attention(Q2, K2, K2, mask=np.zeros((3, 1, 3, 5), bool), q_offset=[0, 1]), ValueError, r"mask.shape\[0\] is 3, expected 1 or 2"),
    (lambda: regard.attention(Q2, K2, K2, mask=np.zeros((2, 3, 3, 5), bool), q_offset=[0, 1]), ValueError, r"mask.shape\[1\] is 3, expected 1 or 2"),
    (lambda: regard.attention(Q, K, np.zeros((1, 2, 5, 0), np.float32)), ValueError, "value_dim is 0, expected 1..1024"),
    (lambda: regard.attention(Q, K, K, mask=np.zeros((1, 1, 1, 3, 5), bool)), ValueError, "mask is of shape"),
    (lambda: regard.attention(Q, K, K, bias=np.zeros((3, 5))), TypeError, "bias is float64"),
    (lambda: regard.attention(Q, K, K, bias=np.zeros((3, 4), np.float32)), ValueError, r"bias.shape\[-1\] is 4"),
    (lambda: regard.attention(Q, K, K, scale="1"), TypeError, "scale is a str, expected a number"),
    (lambda: regard.attention(Q, K, K, scale=math.nan), ValueError, "scale is nan"),
    (lambda: regard.attention(Q, K, K, scale=math.inf), ValueError, "scale is inf"),
    (lambda: regard.attention(Q, K, K, softcap=0), ValueError, "cap"),
    (lambda: regard.attention(Q, K, K, softcap=-1.0), ValueError, "cap"),
    (lambda: regard.attention(Q, K, K, alibi_slopes=[1.0], q_offset=0), ValueError, "slopes.size\\(\\) is 1, expected 2"),
    (lambda: regard.attention(Q, K, K, alibi_slopes=["a", "b"], q_offset=0), TypeError, r"alibi_slopes\[0\] is a str"),
    (lambda: regard.attention(Q, K, K, alibi_slopes=1.0, q_offset=0), TypeError, "alibi_slopes is a float"),
    (lambda: regard.attention(Q, K, K, sinks=[1.0, 2.0, 3.0]), ValueError, "sinks.size\\(\\) is 3, expected 2"),
    (lambda: regard.attention(Q, K, K, sinks=[1.0, math.nan]), ValueError, "sinks"),
    (lambda: regard.attention(Q, K, K, q_offset=1.5), TypeError, "q_offset is a float"),
    (lambda: regard.attention(Q, K, K, q_offset=True), TypeError, "q_offset is a bool"),
    (lambda: regard.attention(Q, K, K, q_offset=2**70), ValueError, "expected a number of 64 bits"),
    (lambda: regard.attention(Q, K, K, q_offset=[1, 2]), ValueError, "q_offsets.size\\(\\) is 2, expected 1"),
    (lambda: regard.attention(Q, K, K, q_offset=[]), ValueError, "q_offset is empty"),
    (lambda: regard.attention(Q, K, K, kv_lens=5), TypeError, "kv_lens is a int"),
    (lambda: regard.attention(Q, K, K, kv_lens=[6]), ValueError, r"kv_lens\[0\] is 6, expected 0..5"),
    (lambda: regard.attention(Q, K, K, kv_lens=[-1]), ValueError, r"kv_lens\[0\] is -1"),
    (lambda: regard.attention(Q, K, K, kv_lens=[]), ValueError, "kv_lens is empty"),
    (lambda: regard.attention(Q, K, K, cu_seqlens_q=[0, 3], cu_seqlens_kv=[0, 5]), ValueError, r"expected \(tokens, heads, head_dim\)"),
    (lambda: regard.attention(Q[0], K[0], K[0], cu_seqlens_q=[0, 3]), ValueError, "cu_seqlens_kv is None"),
    (lambda: regard.attention(T, T, T, cu_seqlens_q=[0, 2], cu_seqlens_kv=[0, 9]), ValueError, r"cu_seqlens_kv\[1\] is 9"),
    (lambda: regard.attention(T, T, T, cu_seqlens_q=[1, 2], cu_seqlens_kv=[0, 2]), ValueError, r"cu_seqlens_q\[0\] is 1"),
    (lambda: regard.attention(Q, K, K, out=np.zeros(Q.shape)), TypeError, "out is float64"),
    (lambda: regard.attention(Q, K, K, out=[0.0]), TypeError, "out is a list"),
    (lambda: regard.attention(Q, K, K, num_threads=0), ValueError, "num_threads is 0, expected 1..1024"),
    (lambda: regard.attention(Q, K, K, num_threads="2"), TypeError, "num_threads is a str"),
    (lambda: regard.attention(Q, K, K, return_lse=0), TypeError, "return_lse is a int"),
    (lambda: regard.weights(Q, K, rows=[3]), ValueError, r"rows\[0\] is 3, expected -3..2"),
    (lambda: regard.weights(Q, K, rows="a"), TypeError, "rows is a str"),
    (lambda: regard.merge([]), ValueError, "states is empty"),
    (lambda: regard.merge([1]), TypeError, r"states\[0\] is a int"),
    (lambda: regard.partial_attention(Q, K, K, kv_offset=3), ValueError, "kv_offset is 3"),
    (lambda: regard.rope(Q, [1, 2]), ValueError, "positions is 2 numbers, expected 3"),
    (lambda: regard.rope(Q, 1.5), TypeError, "positions is a float"),
    (lambda: regard.rope(Q, 0, base="x"), TypeError, "base is a str"),
    (lambda: masks.prefix("a"), TypeError, "prefix: length is a str"),
    (lambda: masks.strided(0), ValueError, "stride is 0"),
    (lambda: masks.window("a"), TypeError, "window: left is a str"),
    (lambda: masks.document([1, "a"]), TypeError, r"ids\[1\] is a str"),
    (lambda: masks.dense(np.zeros((3, 3))), TypeError, "dense: allowed is"),
    (lambda: masks.dense(np.zeros(3, bool)), ValueError, "allowed is of shape"),
    (lambda: masks.block(np.zeros((1, 1), bool), 0, 1), ValueError, "q_block is 0"),
    (lambda: masks.per_sequence([]), ValueError, "masks is empty"),
    (lambda: masks.per_sequence([1]), TypeError, r"masks\[0\] is a int"),
    (lambda: masks.parse("casual"), ValueError, "column 1"),
    (lambda: masks.parse(1), TypeError, "text is a int"),
    (lambda: masks.causal() & 1, TypeError, "unsupported operand"),
    (lambda: masks.causal().draw(0), ValueError, "q_len is 0"),
    (lambda: regard.attention(Q, K, K, mask=masks.per_sequence([masks.full()] * 2), q_offset=0), ValueError, r"mask.shape\[0\] is 2"),
]


@pytest.mark.parametrize("call, error, words", WRONG, ids=[str(i) for i in range(len(WRONG))])
def test_wrong_calls_say_what_is_wrong(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_other_python_threads_go_on():
    """The lock is released: a thread that counts is not held up by a call of several hundred milliseconds."""
    q = np.random.default_rng(6).standard_normal((1, 4, 4096, 64), np.float32)
    longest, stop = [0.0], threading.Event()

    def count():
        last = time.monotonic()
        while not stop.is_set():
            time.sleep(0.001)
            now = time.monotonic()
            longest[0], last = max(longest[0], now - last), now

    thread = threading.Thread(target=count)
    thread.start()
    began = time.monotonic()
    regard.attention(q, q, q, num_threads=1)
    took = time.monotonic() - began
    stop.set()
    thread.join()
    assert longest[0] < took / 2


INTERRUPTED = """
import numpy as np, regard, os, signal, threading, time
q = np.zeros((1, 8, 60000, 64), np.float32)
began = []
def interrupt():
    time.sleep(0.5)
    began.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
try:
    regard.attention(q, q, q)
    print("not interrupted")
except KeyboardInterrupt:
    print(time.monotonic() - began[0])
small = q[:, :1, :4]
print(regard.attention(small, small, small).shape)
"""


def test_ctrl_c_ends_a_long_call():
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    result = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], env=env, capture_output=True, text=True, timeout=120,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert result.returncode == 0, result.stderr
    seconds, shape = result.stdout.splitlines()
    # 0.2 s on an idle machine; a loaded one may not even give the thread a turn by then. The call itself would take minutes.
    assert float(seconds) < 2
    assert shape == "(1, 1, 4, 64)"


def test_nothing_is_leaked():
    q, k, v = tensors()
    allowed = np.ones((9, 33), bool)
    before = [sys.getrefcount(x) for x in (q, k, v, allowed)]
    for _ in range(10):
        regard.attention(q, k, v, mask=allowed, return_lse=True)
        regard.weights(q, k, mask=allowed)
        regard.plan(q, k, v, mask=allowed)
        with pytest.raises(ValueError):
            regard.attention(q, k, v, mask=allowed[:2])
    gc.collect()
    assert [sys.getrefcount(x) for x in (q, k, v, allowed)] == before
