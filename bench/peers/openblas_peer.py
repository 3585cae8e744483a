# bench/peers/openblas_peer.py - OpenBLAS, as SciPy ships it: matrix products alone.
import ctypes
import pathlib

import numpy
import scipy_openblas32

from problem import Linear, Unsupported

ROW_MAJOR, AS_IT_IS, TRANSPOSED = 101, 111, 112
blas = ctypes.CDLL(str(pathlib.Path(scipy_openblas32.get_lib_dir()) / "libscipy_openblas.so"))
blas.scipy_openblas_get_config.restype = ctypes.c_char_p


def version():
    return blas.scipy_openblas_get_config().decode().split()[1]


def prepare(problem, inputs, threads):
    if not isinstance(problem, Linear):
        raise Unsupported("it has no attention")
    blas.scipy_openblas_set_num_threads(threads)
    x, weight = inputs
    out = numpy.zeros((problem.rows, problem.out_features), numpy.float32)
    depth = problem.in_features
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (x, weight, out)]
    arguments = (ROW_MAJOR, AS_IT_IS, TRANSPOSED, problem.rows, problem.out_features, depth, ctypes.c_float(1), pointers[0], depth,
                 pointers[1], depth, ctypes.c_float(0), pointers[2], problem.out_features)
    return {"arguments": arguments, "out": out, "inputs": inputs}


def run(prepared):
    blas.scipy_cblas_sgemm(*prepared["arguments"])


def result(prepared):
    return prepared["out"]
