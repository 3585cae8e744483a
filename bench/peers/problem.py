# bench/peers/problem.py - what regard and its peers compute: the cases, their inputs, the bars.
import dataclasses

import numpy

STORAGE = {"fp32": numpy.float32, "fp16": numpy.float16, "bf16": numpy.uint16}  # bf16: its bits


class Unsupported(Exception):
    """A peer cannot compute this problem; the reason."""


@dataclasses.dataclass(frozen=True)
class Attention:
    """out = softmax(q k^T / sqrt(D)) v on row-major (heads, length, D); all tensors stored as dtype."""
    name: str
    dtype: str
    num_heads: int
    num_kv_heads: int
    q_len: int
    kv_len: int
    head_dim: int
    causal: bool = False
    unit: str = "GFLOP/s"

    def inputs(self):
        """query, key, value."""
        random = numpy.random.default_rng(1)
        rows, keys = (self.num_heads, self.q_len), (self.num_kv_heads, self.kv_len)
        return [store(random.standard_normal((*shape, self.head_dim), numpy.float32), self.dtype) for shape in (rows, keys, keys)]

    def work(self):
        """Useful operations of a prefill; bytes of keys and values of a decode. In 1e9."""
        if self.q_len == 1:
            return 2e-9 * self.num_kv_heads * self.kv_len * self.head_dim * numpy.dtype(STORAGE[self.dtype]).itemsize
        pairs = self.q_len * (self.q_len + 1) / 2 if self.causal else self.q_len * self.kv_len
        return 4e-9 * pairs * self.head_dim * self.num_heads


@dataclasses.dataclass(frozen=True)
class Linear:
    """y = x weight^T, float32: x (rows, in), weight (out, in)."""
    name: str
    rows: int
    in_features: int
    out_features: int
    dtype: str = "fp32"
    unit: str = "GFLOP/s"

    def inputs(self):
        """x, weight."""
        random = numpy.random.default_rng(1)
        return [random.standard_normal((n, self.in_features), numpy.float32) for n in (self.rows, self.out_features)]

    def work(self):
        return 2e-9 * self.rows * self.in_features * self.out_features


# Pattern of cases -> regard's rate over a peer's: what is asked for. First match.
BARS = {"prefill.*.causal": 1.8, "prefill.fp32.*": 1.05, "prefill.bf16.*": 1.2, "decode.*": 2.5}


def cases():
    for dtype, lengths in (("fp32", (128, 384, 1024, 4096)), ("bf16", (1024, 4096))):
        for head_dim in (64, 128):
            for length in lengths:
                heads = 8 if length < 1024 else 2
                for causal in (False, True):
                    name = f"prefill.{dtype}.d{head_dim}.n{length}.{'causal' if causal else 'full'}"
                    yield Attention(name, dtype, heads, heads, length, length, head_dim, causal)
    for dtype in ("fp32", "bf16", "fp16"):
        for ratio in (1, 4, 8):
            yield Attention(f"decode.{dtype}.ratio{ratio}.n65536", dtype, 8 * ratio, 8, 1, 65536, 128, unit="GB/s")
    for rows in (16, 128, 512):
        for in_features, out_features in ((384, 384), (384, 1536), (1536, 384)):
            yield Linear(f"linear.fp32.r{rows}.{in_features}x{out_features}", rows, in_features, out_features)


def store(x, dtype):
    """float32 -> the storage type, to nearest, ties to even."""
    if dtype != "bf16":
        return x.astype(STORAGE[dtype])
    bits = x.view(numpy.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(numpy.uint16)


def load(x, dtype):
    """The storage type -> float32."""
    return (x.astype(numpy.uint32) << 16).view(numpy.float32) if dtype == "bf16" else x.astype(numpy.float32)


def fastest(candidates, seconds_of):
    """The fastest of some prepared ways to do the same: a peer is measured at its best."""
    return min(candidates, key=lambda each: min(seconds_of(each) for _ in range(3)))
