# bench/peers/openvino_peer.py - OpenVINO: the ScaledDotProductAttention operation, compiled for the CPU.
import numpy
import openvino
from openvino import opset13

from problem import Attention, Unsupported, load

TYPES = {"fp32": openvino.Type.f32, "fp16": openvino.Type.f16, "bf16": openvino.Type.bf16}
core = openvino.Core()


def version():
    return openvino.__version__.split("-")[0]


def prepare(problem, inputs, threads):
    if not isinstance(problem, Attention):
        raise Unsupported("linear layers are compared with PyTorch and OpenBLAS")
    element = TYPES[problem.dtype]
    # The operation knows no groups of heads: for one query row the heads of a group are rows of one head.
    groups = problem.num_kv_heads
    arrays = [inputs[0].reshape(1, groups, -1, problem.head_dim), *(x[None] for x in inputs[1:])]
    parameters = [opset13.parameter(x.shape, element) for x in arrays]
    model = openvino.Model([opset13.scaled_dot_product_attention(*parameters, causal=problem.causal)], parameters)
    request = core.compile_model(model, "CPU", {
        "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": element}).create_infer_request()
    for index, array in enumerate(arrays):
        request.set_input_tensor(index, openvino.Tensor(array, list(array.shape), element))
    return {"request": request, "problem": problem, "arrays": arrays}


def run(prepared):
    prepared["request"].infer()


def result(prepared):
    problem = prepared["problem"]
    out = prepared["request"].get_output_tensor(0)
    if out.element_type == openvino.Type.bf16:
        data = load(out.data.view(numpy.uint16), "bf16")
    else:
        data = out.data.astype(numpy.float32)
    return data.reshape(problem.num_heads, problem.q_len, problem.head_dim)
