# tests/python/onnx_test.py - ONNX's conformance cases of its operator Attention, through regard.attention.
import warnings

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

import regard  # noqa: E402


def cases():
    """Those that are one Attention node; the others are the same ones expanded into primitive operators."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases("Attention")
    for case in found:
        nodes = case.model.graph.node
        if len(nodes) == 1 and nodes[0].op_type == "Attention":
            yield pytest.param(case, id=case.name.removeprefix("test_attention_"))


def split_heads(x, heads):
    """(batch, length, heads * dim) -> (batch, heads, length, dim), without a copy."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3) if heads else x


def through_regard(node, inputs):
    """What the operator's specification says, said to regard.attention. Returns (Y, the weights)."""
    given = dict(zip(("Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen"), inputs))
    given = {name: x for name, x in given.items() if x is not None}
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    q = split_heads(given["Q"], attributes.get("q_num_heads"))
    k, v = (split_heads(given[name], attributes.get("kv_num_heads")) for name in "KV")
    if "past_key" in given:
        k, v = np.concatenate([given["past_key"], k], 2), np.concatenate([given["past_value"], v], 2)
    options = dict(scale=attributes.get("scale"), softcap=attributes.get("softcap") or None, causal=bool(attributes.get("is_causal")))
    sides = [attributes.get(side + "_window_size", -1) for side in ("left", "right")]
    if max(sides) >= 0:
        options["window"] = tuple(None if side < 0 else side for side in sides)
    if "nonpad_kv_seqlen" in given:
        options["kv_lens"] = given["nonpad_kv_seqlen"]
        options["q_offset"] = given["nonpad_kv_seqlen"] - q.shape[2]
    else:
        options["q_offset"] = given["past_key"].shape[2] if "past_key" in given else 0
    if "attn_mask" in given:
        mask, missing = given["attn_mask"], k.shape[2] - given["attn_mask"].shape[-1]
        if missing and mask.shape[-1] > 1:  # the specification: shorter ones are padded, and nobody sees the rest
            fill = False if mask.dtype == bool else -np.inf
            mask = np.concatenate([mask, np.full((*mask.shape[:-1], missing), fill, mask.dtype)], -1)
        options["mask" if mask.dtype == bool else "bias"] = mask
    out = regard.attention(q, k, v, **options)
    if attributes.get("q_num_heads"):
        out = out.transpose(0, 2, 1, 3).reshape(out.shape[0], out.shape[2], -1)
    return out, regard.weights(q, k, **options), attributes.get("qk_matmul_output_mode", 0)


@pytest.mark.parametrize("case", cases())
def test_conforms(case):
    for inputs, outputs in case.data_sets:
        node = case.model.graph.node[0]
        feed = iter(inputs)
        out, weights, mode = through_regard(node, [next(feed) if name else None for name in node.input])
        wanted = dict(zip([name for name in node.output if name], outputs))
        rtol = {2: 2e-2 if "bf16" in case.name else 2e-3, 4: 1e-5}[out.dtype.itemsize]
        np.testing.assert_allclose(out.astype(np.float64), wanted["Y"].astype(np.float64), rtol=rtol, atol=rtol)
        if "qk_matmul_output" in wanted and mode == 3:  # after softmax; regard does not give scores away
            wanted_weights = wanted["qk_matmul_output"].astype(np.float64)
            np.testing.assert_allclose(weights, wanted_weights, rtol=rtol, atol=rtol)


def test_there_are_cases():
    assert len(list(cases())) >= 90
