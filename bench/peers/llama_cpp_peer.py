# bench/peers/llama_cpp_peer.py - llama.cpp: ggml_flash_attn_ext of the npm package @node-llama-cpp/linux-x64, by ctypes.
import ctypes
import json
import pathlib

import numpy

from problem import Attention, Unsupported, load

PACKAGE = pathlib.Path(__file__).resolve().parents[2] / "build/peers/node_modules/@node-llama-cpp/linux-x64"
LIBRARIES = PACKAGE / "bins/linux-x64"
TYPES = {"fp32": 0, "fp16": 1, "bf16": 30}  # enum ggml_type
CPU = 0                                      # enum ggml_backend_dev_type
OVERHEAD = 1 << 20                           # of a context with a graph and a few tensors
Pointer, Extent = ctypes.c_void_p, ctypes.c_int64


class InitParams(ctypes.Structure):
    _fields_ = [("mem_size", ctypes.c_size_t), ("mem_buffer", Pointer), ("no_alloc", ctypes.c_bool)]


def function(library, name, result, *arguments):
    f = getattr(library, name)
    f.restype, f.argtypes = result, arguments
    return f


base = ctypes.CDLL(str(LIBRARIES / "libggml-base.so"), ctypes.RTLD_GLOBAL)
ggml = ctypes.CDLL(str(next(LIBRARIES.glob("libggml.*so"))), ctypes.RTLD_GLOBAL)
init = function(base, "ggml_init", Pointer, InitParams)
free = function(base, "ggml_free", None, Pointer)
new_tensor = function(base, "ggml_new_tensor_4d", Pointer, Pointer, ctypes.c_int, Extent, Extent, Extent, Extent)
data_of = function(base, "ggml_get_data", Pointer, Pointer)
flash_attention = function(base, "ggml_flash_attn_ext", Pointer, Pointer, Pointer, Pointer, Pointer, Pointer, ctypes.c_float,
                           ctypes.c_float, ctypes.c_float)
new_graph = function(base, "ggml_new_graph", Pointer, Pointer)
expand = function(base, "ggml_build_forward_expand", None, Pointer, Pointer)
compute = function(base, "ggml_backend_graph_compute", ctypes.c_int, Pointer, Pointer)
device_of = function(base, "ggml_backend_get_device", Pointer, Pointer)
registry_of = function(base, "ggml_backend_dev_backend_reg", Pointer, Pointer)
address_in = function(base, "ggml_backend_reg_get_proc_address", Pointer, Pointer, ctypes.c_char_p)
function(ggml, "ggml_backend_load_all_from_path", None, ctypes.c_char_p)(str(LIBRARIES).encode())
backend = function(ggml, "ggml_backend_init_by_type", Pointer, ctypes.c_int, ctypes.c_char_p)(CPU, None)
set_threads = ctypes.CFUNCTYPE(None, Pointer, ctypes.c_int)(address_in(registry_of(device_of(backend)), b"ggml_backend_set_n_threads"))


def version():
    return "node-llama-cpp " + json.loads((PACKAGE / "package.json").read_text())["version"]


class Prepared:
    """A graph of one operation in a context that holds all tensors."""

    def __init__(self, problem, inputs):
        self.problem = problem
        query = load(inputs[0], problem.dtype)  # it takes float32 queries whatever the cache is
        arrays = [(query, TYPES["fp32"]), *((x, TYPES[problem.dtype]) for x in inputs[1:])]
        if problem.causal:
            ahead = numpy.triu(numpy.full((problem.q_len, problem.kv_len), -numpy.inf, numpy.float16), 1)
            arrays.append((ahead[None], TYPES["fp16"]))
        size = sum(x.nbytes for x, _ in arrays) + query.nbytes + OVERHEAD
        self.context = init(InitParams(size, None, False))
        tensors = [self.tensor(*each) for each in arrays] + [None] * (4 - len(arrays))
        self.out = flash_attention(self.context, *tensors, problem.head_dim ** -0.5, 0, 0)
        self.graph = new_graph(self.context)
        expand(self.graph, self.out)

    def tensor(self, array, element):
        heads, length, dim = array.shape
        made = new_tensor(self.context, element, dim, length, heads, 1)
        ctypes.memmove(data_of(made), array.ctypes.data, array.nbytes)
        return made

    def __del__(self):
        free(self.context)


def prepare(problem, inputs, threads):
    if not isinstance(problem, Attention):
        raise Unsupported("linear layers are compared with PyTorch and OpenBLAS")
    set_threads(backend, threads)
    return Prepared(problem, inputs)


def run(prepared):
    if status := compute(backend, prepared.graph):
        raise RuntimeError(f"ggml_backend_graph_compute returned {status}")


def result(prepared):
    p = prepared.problem
    shape = (p.q_len, p.num_heads, p.head_dim)
    floats = ctypes.cast(data_of(prepared.out), ctypes.POINTER(ctypes.c_float))
    return numpy.ctypeslib.as_array(floats, shape).transpose(1, 0, 2).copy()
