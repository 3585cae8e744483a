# bench/python/attention_cases.py - regard.torch beside PyTorch's own function: the cases of regard bench, and tiny ones.
import fnmatch
import pathlib
import statistics
import sys
import time

import torch

import regard
import regard.torch

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "peers"))
from clock import seconds_of  # noqa: E402
from problem import Attention, cases as peer_cases  # noqa: E402
from torch_peer import tensor  # noqa: E402

LEAST_TURNS = 5
SLOWER_BY = 5e-6  # a call may take so much longer where PyTorch's takes less than 20 us


def cases():
    for kv_len in (1, 16, 64, 256):
        yield Attention(f"tiny.fp32.q1.n{kv_len}", "fp32", 4, 4, 1, kv_len, 64)
    yield Attention("tiny.bf16.q1.n16", "bf16", 4, 4, 1, 16, 64)
    yield Attention("tiny.fp32.q16.n16", "fp32", 4, 4, 16, 16, 64)
    yield from (case for case in peer_cases() if isinstance(case, Attention))
    for head_dim in (64, 128):
        for length in (1024, 4096):
            yield Attention(f"prefill.fp16.d{head_dim}.n{length}.full", "fp16", 2, 2, length, length, head_dim)
    for dtype in ("fp32", "bf16", "fp16"):
        yield Attention(f"decode.{dtype}.ratio16.n65536", dtype, 128, 8, 1, 65536, 128)
    for dtype in ("fp32", "bf16"):
        for rows in (2, 4, 8, 16, 32, 63):
            yield Attention(f"rows.{dtype}.q{rows}.n4096", dtype, 8, 8, rows, 4096, 128)


def measure(case, threads, seconds):
    """One row: medians of turns, and the median of their ratios."""
    torch.set_num_threads(threads)
    query, key, value = (tensor(x, case.dtype).unsqueeze(0) for x in case.inputs())
    options = dict(is_causal=case.causal, enable_gqa=case.num_heads > case.num_kv_heads)
    theirs = lambda: torch.nn.functional.scaled_dot_product_attention(query, key, value, **options)  # noqa: E731
    ours = lambda: regard.torch.scaled_dot_product_attention(query, key, value, **options)  # noqa: E731
    with torch.inference_mode():
        apart = ((ours().float() - theirs().float()).square().mean() / theirs().float().square().mean()).sqrt().item()
        if not apart <= 0.05:
            raise RuntimeError(f"{case.name}: the results differ by {apart:.3g} of the root mean square")
        turns, end = [], time.monotonic() + seconds
        while len(turns) < LEAST_TURNS or time.monotonic() < end:
            turns.append((seconds_of(ours, threads), seconds_of(theirs, threads)))
    mine, other = (statistics.median(turn[i] for turn in turns) for i in (0, 1))
    ratio = statistics.median(b / a for a, b in turns)
    met = ratio >= 1 if other > 20e-6 else mine - other <= SLOWER_BY
    return {"case": case.name, "regard": mine, "sdpa": other, "unit": "s", "ratio": ratio, "bar": 1, "met": met}


def rows(patterns, threads, seconds):
    for case in cases():
        if not patterns or any(fnmatch.fnmatch(case.name, glob) for glob in patterns):
            yield measure(case, threads, seconds)


def overhead():
    """What a call on NumPy arrays costs beside one that does nothing: microseconds."""
    import timeit

    import numpy

    query = numpy.zeros((1, 1, 1, 64), numpy.float32)
    key = numpy.zeros((1, 1, 16, 64), numpy.float32)
    empty = regard.masks.full  # makes one small object and no more
    best = lambda call: min(timeit.repeat(call, number=2000, repeat=15)) / 2000  # noqa: E731
    mine, other = best(lambda: regard.attention(query, key, key)), best(empty)
    return {"case": "call.numpy.q1.n16", "regard": mine, "empty_call": other, "unit": "s", "ratio": mine / other, "bar": 5e-6,
            "met": mine - other <= 5e-6}
