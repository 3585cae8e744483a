# bench/peers/regard_peer.py - regard itself, by ctypes through regard_shim.cc.
import ctypes
import os
import pathlib

import numpy

from problem import STORAGE, Attention, load

LIBRARY = pathlib.Path(__file__).resolve().parents[2] / "build/release/bench/libregard_shim.so"
DTYPES = ["fp32", "bf16", "fp16"]  # regard::DType
ERROR_BYTES = 512


class Problem(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("num_heads", "num_kv_heads", "q_len", "kv_len", "head_dim")] + [
        ("dtype", ctypes.c_int32), ("causal", ctypes.c_int32)]


shim = ctypes.CDLL(os.environ.get("REGARD_SHIM", str(LIBRARY)))
for function in (shim.regard_attention, shim.regard_linear):
    function.restype = ctypes.c_void_p
for function in (shim.regard_attention_run, shim.regard_linear_run):
    function.restype = ctypes.c_bool


def address(array):
    return ctypes.c_void_p(array.ctypes.data)


def check(result, error):
    if not result:
        raise RuntimeError(f"regard: {error.value.decode()}")
    return result


class Prepared:
    """A plan with its tensors."""

    def __init__(self, problem, inputs, threads):
        self.problem, self.inputs, self.error = problem, inputs, ctypes.create_string_buffer(ERROR_BYTES)
        if isinstance(problem, Attention):
            p = Problem(problem.num_heads, problem.num_kv_heads, problem.q_len, problem.kv_len, problem.head_dim,
                        DTYPES.index(problem.dtype), problem.causal)
            self.out = numpy.zeros_like(inputs[0])
            handle = shim.regard_attention(ctypes.byref(p), threads, self.error)
            self.call, self.arguments = shim.regard_attention_run, [address(x) for x in (*inputs, self.out)]
        else:
            self.out = numpy.zeros((problem.rows, problem.out_features), numpy.float32)
            handle = shim.regard_linear(address(inputs[1]), ctypes.c_int64(problem.out_features),
                                        ctypes.c_int64(problem.in_features), threads, self.error)
            self.call = shim.regard_linear_run
            self.arguments = [address(inputs[0]), ctypes.c_int64(problem.rows), address(self.out)]
        self.handle = ctypes.c_void_p(check(handle, self.error))

    def __del__(self):
        shim.regard_free(getattr(self, "handle", None))


def version():
    return "this build"


def prepare(problem, inputs, threads):
    return Prepared(problem, inputs, threads)


def run(prepared):
    check(prepared.call(prepared.handle, *prepared.arguments, prepared.error), prepared.error)


def result(prepared):
    return load(prepared.out, prepared.problem.dtype)
