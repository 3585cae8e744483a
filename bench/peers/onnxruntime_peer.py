# bench/peers/onnxruntime_peer.py - ONNX Runtime: the Attention operator, MultiHeadAttention, GroupQueryAttention; the fastest.
import numpy
import onnxruntime
from onnx import TensorProto, helper

from clock import seconds_of
from problem import Attention, Unsupported, fastest

TYPES = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16}
MICROSOFT, OPSET, IR_VERSION = "com.microsoft", 23, 11
onnxruntime.set_default_logger_severity(4)  # an operator that a build lacks is no news: another is tried


def version():
    return onnxruntime.__version__


def session(node, inputs, out_shapes, element, threads):
    """One operator as a model."""
    types = {numpy.dtype(numpy.int32): TensorProto.INT32}
    graph = helper.make_graph(
        [node], "attention",
        [helper.make_tensor_value_info(name, types.get(x.dtype, element), x.shape) for name, x in inputs.items()],
        [helper.make_tensor_value_info(name, element, shape) for name, shape in out_shapes.items()])
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def bound(node, inputs, outputs, element, threads):
    """A way to compute: inputs and outputs stay where they are; outputs are name -> array or shape."""
    shapes = {name: x if isinstance(x, tuple) else x.shape for name, x in outputs.items()}
    run_session = session(node, inputs, shapes, element, threads)
    binding = run_session.io_binding()
    values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(x) for name, x in inputs.items()}
    by_array = {id(x): values[name] for name, x in inputs.items()}
    for name, value in values.items():
        binding.bind_ortvalue_input(name, value)
    for name, x in outputs.items():
        made = by_array.get(id(x))  # a cache that grows in place
        dtype = next(iter(inputs.values())).dtype
        value = made or onnxruntime.OrtValue.ortvalue_from_numpy(numpy.zeros(shapes[name], dtype))
        binding.bind_ortvalue_output(name, value)
        values[name] = value
    return {"session": run_session, "binding": binding, "out": values["out"], "keep": (inputs, values)}


def attention(p, inputs, element, threads):
    arrays = dict(zip("qkv", (x[None] for x in inputs)))
    node = helper.make_node("Attention", list("qkv"), ["out"], is_causal=int(p.causal))
    return bound(node, arrays, {"out": arrays["q"].shape}, element, threads) | {"layout": "heads"}


def merged(x):
    """(heads, length, dim) -> (1, length, heads * dim)."""
    return numpy.ascontiguousarray(x.transpose(1, 0, 2)).reshape(1, x.shape[1], -1)


def multi_head(p, inputs, element, threads):
    if p.num_heads != p.num_kv_heads:
        raise Unsupported("MultiHeadAttention has no groups of heads")
    arrays = dict(zip("qkv", map(merged, inputs)))
    node = helper.make_node("MultiHeadAttention", list("qkv"), ["out"], domain=MICROSOFT, num_heads=p.num_heads,
                            unidirectional=int(p.causal))
    return bound(node, arrays, {"out": arrays["q"].shape}, element, threads) | {"layout": "merged"}


def group_query(p, inputs, element, threads):
    """Causal by nature: one new row against a cache, or a causal prompt. The cache is updated in place."""
    if p.q_len > 1 and not p.causal:
        raise Unsupported("GroupQueryAttention is causal")
    query, key, value = inputs
    arrays = {"q": merged(query), "k": merged(key[:, -p.q_len:]), "v": merged(value[:, -p.q_len:])}
    arrays |= {"past_key": key[None].copy(), "past_value": value[None].copy(),
               "seqlens_k": numpy.array([p.kv_len - 1], numpy.int32), "total": numpy.array(p.kv_len, numpy.int32)}
    outputs = {"out": arrays["q"].shape, "present_key": arrays["past_key"], "present_value": arrays["past_value"]}
    node = helper.make_node("GroupQueryAttention", list(arrays), list(outputs), domain=MICROSOFT, num_heads=p.num_heads,
                            kv_num_heads=p.num_kv_heads)
    return bound(node, arrays, outputs, element, threads) | {"layout": "merged"}


def prepare(problem, inputs, threads):
    if not isinstance(problem, Attention):
        raise Unsupported("linear layers are compared with PyTorch and OpenBLAS")
    if problem.dtype not in TYPES:
        raise Unsupported(f"its attention on CPUs takes no {problem.dtype}")
    ways, reasons = [], []
    for way in (attention, multi_head, group_query):
        try:
            prepared = way(problem, inputs, TYPES[problem.dtype], threads) | {"problem": problem}
            run(prepared)
            ways.append(prepared)
        except Exception as error:  # whatever a build of it says about an operator that it lacks
            reasons.append(f"{way.__name__}: {error}".splitlines()[0])
    if not ways:
        raise Unsupported("; ".join(reasons))
    return fastest(ways, lambda way: seconds_of(lambda: run(way), threads))


def run(prepared):
    prepared["session"].run_with_iobinding(prepared["binding"])


def result(prepared):
    p, out = prepared["problem"], prepared["out"].numpy().astype(numpy.float32)
    if prepared["layout"] == "heads":
        return out[0]
    return out.reshape(p.q_len, p.num_heads, p.head_dim).transpose(1, 0, 2)
