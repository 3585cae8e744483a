# bench/peers/regard_peer.py - regard itself, by ctypes through its C functions (include/regard/c/regard.h).
import ctypes
import os
import pathlib

import numpy

from problem import Attention, load

LIBRARY = pathlib.Path(__file__).resolve().parents[2] / "build/release/bench/libregard.so"
DTYPES = ["fp32", "bf16", "fp16"]  # REGARD_F32, REGARD_BF16, REGARD_F16
Pointer, Int, Int32, Size = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32, ctypes.c_size_t


class View(ctypes.Structure):
    """regard_input, regard_output."""
    _fields_ = [("data", Pointer), ("shape", Int * 4), ("strides", Int * 4), ("dtype", Int32), ("reserved", Int32)]


class Shape(ctypes.Structure):
    _fields_ = [("size", Size)] + [(name, Int) for name in (
        "batch", "num_heads", "num_kv_heads", "q_len", "kv_len", "head_dim", "value_dim")] + [
        (name, Int32) for name in ("query_dtype", "key_dtype", "value_dtype", "out_dtype")]


class Span(ctypes.Structure):
    """regard_ints, regard_floats."""
    _fields_ = [("data", Pointer), ("count", Int)]


class Options(ctypes.Structure):
    _fields_ = [("size", Size), ("mask", ctypes.c_char_p), ("dense_mask", Pointer), ("scale", Pointer), ("q_offset", ctypes.POINTER(Int)),
                ("q_offsets", Span), ("kv_lens", Span), ("cu_seqlens_q", Span), ("cu_seqlens_kv", Span), ("score_mods", Pointer),
                ("num_score_mods", Int), ("sinks", Span), ("kv_offset", Int), ("executor", Pointer), ("allocator", Pointer)]


regard = ctypes.CDLL(os.environ.get("REGARD_LIBRARY", str(LIBRARY)))
regard.regard_last_error.restype = regard.regard_version.restype = ctypes.c_char_p


def check(status):
    if status != 0:
        raise RuntimeError(f"regard: {regard.regard_last_error().decode()}")


def create(function, *arguments):
    """What regard_..._create makes."""
    handle = Pointer()
    check(function(*arguments, ctypes.byref(handle)))
    return handle


def address(array):
    return Pointer(array.ctypes.data)


def view(array, dtype):
    """(heads, length, dim), row-major, as a batch of one."""
    shape = (1, *array.shape)
    strides = (array.size, *(step // array.itemsize for step in array.strides))
    return View(array.ctypes.data, (Int * 4)(*shape), (Int * 4)(*strides), DTYPES.index(dtype))


class Prepared:
    """A plan or a layer with its tensors."""

    def __init__(self, problem, inputs, threads):
        self.problem, self.inputs = problem, inputs
        self.executor = create(regard.regard_executor_create, Int32(threads))
        if isinstance(problem, Attention):
            self.out = numpy.zeros_like(inputs[0])
            self.handle, self.free = self.plan(), regard.regard_plan_free
            views = [view(each, problem.dtype) for each in (*inputs, self.out)]
            self.call, self.arguments = regard.regard_plan_run, [*map(ctypes.byref, views), None]
        else:
            self.out = numpy.zeros((problem.rows, problem.out_features), numpy.float32)
            self.handle, self.free = create(regard.regard_linear_create, address(inputs[1]), None, Int(problem.out_features),
                                            Int(problem.in_features)), regard.regard_linear_free
            self.call = regard.regard_linear_run
            self.arguments = [address(inputs[0]), address(self.out), Int(problem.rows), self.executor]

    def plan(self):
        p, dtype = self.problem, DTYPES.index(self.problem.dtype)
        shape = Shape(ctypes.sizeof(Shape), 1, p.num_heads, p.num_kv_heads, p.q_len, p.kv_len, p.head_dim, p.head_dim, *[dtype] * 4)
        options = Options(size=ctypes.sizeof(Options), mask=b"causal" if p.causal else None,
                          q_offset=ctypes.pointer(Int(p.kv_len - p.q_len)), executor=self.executor)
        return create(regard.regard_plan_create, ctypes.byref(shape), ctypes.byref(options))

    def __del__(self):
        if hasattr(self, "handle"):
            self.free(self.handle)
        if hasattr(self, "executor"):
            regard.regard_executor_free(self.executor)


def version():
    return regard.regard_version().decode()


def prepare(problem, inputs, threads):
    return Prepared(problem, inputs, threads)


def run(prepared):
    check(prepared.call(prepared.handle, *prepared.arguments))


def result(prepared):
    return load(prepared.out, prepared.problem.dtype)
