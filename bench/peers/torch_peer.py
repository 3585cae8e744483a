# bench/peers/torch_peer.py - PyTorch: scaled_dot_product_attention, linear.
import numpy
import torch
from torch.nn import functional

from clock import seconds_of
from problem import Attention, fastest


def version():
    return torch.__version__


def tensor(array, dtype):
    return torch.from_numpy(array).view(torch.bfloat16) if dtype == "bf16" else torch.from_numpy(array)


def prepare(problem, inputs, threads):
    torch.set_num_threads(threads)
    tensors = [tensor(x, problem.dtype) for x in inputs]
    if not isinstance(problem, Attention):
        return {"work": lambda: functional.linear(*tensors), "shape": (problem.rows, problem.out_features)}
    query, key, value = (x.unsqueeze(0) for x in tensors)
    ways = [lambda: functional.scaled_dot_product_attention(
        query, key, value, is_causal=problem.causal, enable_gqa=problem.num_heads > problem.num_kv_heads)]
    if problem.q_len == 1 and problem.num_heads > problem.num_kv_heads:  # the heads of a group as rows of one head
        rows = query.view(1, problem.num_kv_heads, -1, problem.head_dim)
        ways.append(lambda: functional.scaled_dot_product_attention(rows, key, value))
    with torch.inference_mode():
        work = fastest(ways, lambda way: seconds_of(way, threads)) if len(ways) > 1 else ways[0]
    return {"work": work, "shape": (problem.num_heads, problem.q_len, problem.head_dim)}


def run(prepared):
    with torch.inference_mode():
        prepared["out"] = prepared["work"]()


def result(prepared):
    return prepared["out"].float().numpy().reshape(prepared["shape"]).astype(numpy.float32)
