# tests/python/torch_test.py - regard.torch beside torch.nn.functional.scaled_dot_product_attention.
import math
import threading

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("expecttest", reason="expecttest, which PyTorch's own samples need, is not installed")

import torch.nn.functional as F  # noqa: E402

import regard.torch  # noqa: E402

sdpa = regard.torch.scaled_dot_product_attention
THEIRS = F.scaled_dot_product_attention
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
EPSILON = {torch.float32: 2e-6, torch.bfloat16: 2**-8, torch.float16: 2**-11}


def documented(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    """What PyTorch's documentation says the function is, in float64; rows that see nothing are 0."""
    assert dropout_p == 0
    q, k, v = query.double(), key.double(), value.double()
    if enable_gqa:
        k = k.repeat_interleave(q.size(-3) // k.size(-3), -3)
        v = v.repeat_interleave(q.size(-3) // v.size(-3), -3)
    scores = q @ k.transpose(-2, -1) * (1 / math.sqrt(q.size(-1)) if scale is None else scale)
    if is_causal:
        scores = scores.masked_fill(~torch.ones(scores.shape[-2:], dtype=torch.bool).tril(), -math.inf)
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, -math.inf)
        else:
            scores = scores + attn_mask.double()
    return torch.nan_to_num(torch.softmax(scores, -1)) @ v


def distance(came, wanted, value):
    """In units of what the type's rounding makes of the largest value."""
    if not wanted.numel():
        return 0.0
    most = value.double().abs().max().item() if value.numel() else 1.0
    return (came.double() - wanted).abs().max().item() / (EPSILON[came.dtype] * most)


def agrees(query, key, value, **options):
    before = [tensor.clone() for tensor in (query, key, value)]
    came = sdpa(query, key, value, **options)
    wanted = documented(query, key, value, **options)
    assert came.shape == wanted.shape and came.dtype == query.dtype
    assert all(torch.equal(a, b) for a, b in zip(before, (query, key, value)))
    assert distance(came, wanted, value) <= 4
    return came


def opinfo_samples():
    from torch.testing._internal.common_methods_invocations import op_db

    [op] = [op for op in op_db if op.name == "nn.functional.scaled_dot_product_attention"]
    for dtype in DTYPES:
        for i, sample in enumerate(op.sample_inputs("cpu", dtype, requires_grad=False)):
            if not sample.kwargs.get("dropout_p"):
                yield pytest.param(sample, id=f"{str(dtype)[6:]}-{i}")


@pytest.mark.parametrize("sample", opinfo_samples())
def test_agrees_with_pytorch_s_own_samples(sample):
    agrees(sample.input, *sample.args, **sample.kwargs)
    wanted = documented(sample.input, *sample.args, **sample.kwargs)
    theirs = THEIRS(sample.input, *sample.args, **sample.kwargs)
    assert distance(theirs, wanted, sample.args[1]) <= 4  # the documented meaning is PyTorch's own


CASES = {
    "plain": dict(q=(2, 4, 33, 16), k=(2, 4, 70, 16)),
    "2-D": dict(q=(5, 8), k=(7, 8)),
    "3-D": dict(q=(3, 5, 8), k=(3, 7, 8)),
    "5-D": dict(q=(2, 3, 4, 5, 8), k=(2, 3, 4, 7, 8)),
    "mixed ranks": dict(q=(4, 5, 8), k=(2, 4, 7, 8)),
    "one query head": dict(q=(2, 1, 5, 8), k=(2, 4, 7, 8)),
    "one key head": dict(q=(2, 4, 5, 8), k=(2, 1, 7, 8)),
    "one value batch": dict(q=(2, 4, 5, 8), k=(2, 4, 7, 8), v=(1, 4, 7, 3)),
    "2-D keys": dict(q=(2, 4, 5, 8), k=(7, 8)),
    "value_dim": dict(q=(2, 4, 5, 8), k=(2, 4, 7, 8), v=(2, 4, 7, 24)),
    "grouped": dict(q=(2, 8, 5, 8), k=(2, 2, 7, 8), enable_gqa=True),
    "grouped 3-D": dict(q=(8, 5, 8), k=(2, 7, 8), enable_gqa=True),
    "grouped 5-D": dict(q=(2, 2, 8, 5, 8), k=(2, 1, 2, 7, 8), enable_gqa=True),
    "gqa that is none": dict(q=(2, 4, 5, 8), k=(2, 4, 7, 8), enable_gqa=True),
    "causal, more keys": dict(q=(1, 2, 5, 8), k=(1, 2, 9, 8), is_causal=True),
    "causal, more queries": dict(q=(1, 2, 9, 8), k=(1, 2, 5, 8), is_causal=True),
    "scale": dict(q=(1, 2, 9, 8), k=(1, 2, 5, 8), scale=-0.7),
    "scale 0": dict(q=(1, 2, 9, 8), k=(1, 2, 5, 8), scale=0.0),
    "no queries": dict(q=(1, 2, 0, 8), k=(1, 2, 5, 8)),
    "no keys": dict(q=(1, 2, 3, 8), k=(1, 2, 0, 8)),
    "no batch": dict(q=(0, 2, 3, 8), k=(0, 2, 5, 8)),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_shapes(case, dtype):
    case = dict(case)
    torch.manual_seed(1)
    q, k = case.pop("q"), case.pop("k")
    v = case.pop("v", k)
    agrees(*(torch.randn(shape).to(dtype) for shape in (q, k, v)), **case)


MASKS = [(5, 7), (1, 7), (5, 1), (4, 5, 7), (2, 1, 5, 7), (2, 4, 5, 7), (1, 1, 1, 7), (2, 1, 1, 7)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", MASKS, ids=str)
def test_masks(shape, dtype):
    torch.manual_seed(2)
    q, k, v = torch.randn(2, 4, 5, 8).to(dtype), torch.randn(2, 4, 7, 8).to(dtype), torch.randn(2, 4, 7, 8).to(dtype)
    numbers = torch.randn(shape)
    agrees(q, k, v, attn_mask=numbers > -0.5)
    agrees(q, k, v, attn_mask=numbers.to(dtype))
    agrees(q, k, v, attn_mask=numbers.to(dtype).masked_fill(numbers < -0.5, -math.inf))
    if len(shape) == 4:
        agrees(q[None], k[None], v[None], attn_mask=numbers[None] > -0.5)
    agrees(q, k[:, :1], v[:, :1], attn_mask=numbers > -0.5)


def test_a_row_that_sees_nothing_is_zero():
    q, mask = torch.randn(1, 1, 3, 8), torch.tensor([[True], [False], [True]])
    out = agrees(q, q, q, attn_mask=mask.expand(3, 3))
    assert torch.equal(out[0, 0, 1], torch.zeros(8))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_strides(dtype):
    torch.manual_seed(3)
    base = torch.randn(2, 9, 4, 3, 8).to(dtype)
    q, k, v = base.permute(3, 0, 2, 1, 4)
    assert not q.is_contiguous()
    agrees(q, k, v, is_causal=True)
    agrees(q[:, :, ::2], k[..., 1:, :], v[..., 1:, :])
    agrees(q.expand(2, 4, 9, 8), k[:1].expand(2, 4, 9, 8), v)
    mask = torch.rand(9, 2 * 9)[:, ::2] > 0.3
    agrees(q, k, v, attn_mask=mask)
    agrees(q, k, v, attn_mask=torch.rand(9, 9).t().to(dtype))


def test_lazy_negation_is_not_lost():
    q = torch.randn(1, 2, 5, 8, dtype=torch.cfloat).conj().imag
    assert q.is_neg()
    agrees(q, q, q)
    agrees(torch.randn(1, 2, 5, 8), q[:, :, :3], q[:, :, 2:])
    with pytest.raises(ValueError, match="out is a negated view"):
        regard.attention(Q, Q, Q, out=torch.empty(1, 2, 3, 8, dtype=torch.cfloat).conj().imag)


def test_what_is_no_plain_tensor():
    with torch._subclasses.fake_tensor.FakeTensorMode(), pytest.raises((ValueError, TypeError), match="query"):
        fake = torch.randn(1, 2, 3, 8)
        regard.attention(fake, fake, fake)
    with pytest.raises(TypeError, match="query is without strided memory"):
        torch.func.vmap(lambda x: sdpa(x, x, x))(torch.randn(2, 1, 2, 3, 8))
    with pytest.raises(TypeError, match="mask is without strided memory"):
        regard.attention(Q, Q, Q, mask=torch.ones(3, 3, dtype=torch.bool).to_sparse())
    plain = torch.Tensor.as_subclass(Q, type("Mine", (torch.Tensor,), {}))
    assert torch.equal(regard.attention(plain, plain, plain), regard.attention(Q, Q, Q))


def test_threads_follow_pytorch(monkeypatch):
    seen = []
    real = regard.attention
    monkeypatch.setattr(regard, "attention", lambda *a, **k: seen.append(k["num_threads"]) or real(*a, **k))
    q, before = torch.randn(1, 1, 4, 8), torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            sdpa(q, q, q)
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 2]


Q = torch.randn(1, 2, 3, 8)
REFUSED = {
    "dropout": (lambda f: f(Q, Q, Q, dropout_p=0.5), ValueError, "dropout_p is 0.5"),
    "float64": (lambda f: f(Q.double(), Q.double(), Q.double()), TypeError, "query is torch.float64"),
    "gradients": (lambda f: f(Q, Q.clone().requires_grad_(), Q), TypeError, "key tracks gradients"),
    "device": (lambda f: f(Q, Q, Q.to("meta")), TypeError, "value is on meta"),
    "complex": (lambda f: f(Q.cfloat(), Q, Q), TypeError, "query is torch.complex64"),
    "mask and causal": (lambda f: f(Q, Q, Q, attn_mask=torch.ones(3, 3) > 0, is_causal=True), ValueError, "is_causal is True"),
    "int mask": (lambda f: f(Q, Q, Q, attn_mask=torch.ones(3, 3, dtype=torch.int64)), TypeError, "bias is torch.int64"),
    "mask shape": (lambda f: f(Q, Q, Q, attn_mask=torch.ones(2, 3) > 0), ValueError, r"mask.shape\[-2\] is 2"),
    "head_dim": (lambda f: f(Q, Q[..., :4], Q), ValueError, r"key.shape\[3\] is 4, expected 8"),
    "lengths": (lambda f: f(Q, Q, Q[:, :, :2]), ValueError, r"value.shape\[2\] is 2, expected 3"),
    "1-D": (lambda f: f(Q[0, 0, 0], Q, Q), ValueError, "query has 1 axes"),
    "groups": (lambda f: f(Q, torch.cat([Q, Q[:, :1]], 1), torch.cat([Q, Q[:, :1]], 1), enable_gqa=True), ValueError, "num_heads is 2"),
}


@pytest.mark.parametrize("patched", [False, True])
@pytest.mark.parametrize("call, error, words", REFUSED.values(), ids=REFUSED)
def test_refuses(call, error, words, patched):
    if patched:
        with regard.torch.patch(), pytest.raises(error, match=words):
            call(lambda *a, **k: F.scaled_dot_product_attention(*a, **k))
    else:
        with pytest.raises(error, match=words):
            call(sdpa)


def test_what_tracks_no_gradients_is_taken():
    q = Q.clone().requires_grad_()
    with torch.no_grad():
        sdpa(q, q, q)
    sdpa(q.detach(), q.detach(), q.detach())


def count_calls(monkeypatch):
    calls = []
    real = regard.attention
    monkeypatch.setattr(regard, "attention", lambda *a, **k: calls.append(1) or real(*a, **k))
    return calls


def test_patch_routes_an_unmodified_model(monkeypatch):
    torch.manual_seed(4)
    layer = torch.nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).eval()
    model = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    x = torch.randn(2, 7, 32)
    padding = torch.tensor([[False] * 7, [False] * 4 + [True] * 3])
    with torch.no_grad():
        wanted = model(x, src_key_padding_mask=padding)
        calls = count_calls(monkeypatch)
        with regard.torch.patch():
            came = model(x, src_key_padding_mask=padding)
    assert len(calls) == 2
    assert (came - wanted)[~padding].abs().max() < 1e-5


def test_patch_reaches_other_threads_and_names_and_ends(monkeypatch):
    import types
    import sys

    module = types.ModuleType("has_imported_it_by_name")
    module.attend = THEIRS
    monkeypatch.setitem(sys.modules, module.__name__, module)
    calls = count_calls(monkeypatch)
    with pytest.raises(KeyError), regard.torch.patch():
        module.attend(Q, Q, Q)
        thread = threading.Thread(target=lambda: F.scaled_dot_product_attention(Q, Q, Q))
        thread.start()
        thread.join()
        raise KeyError
    assert len(calls) == 2
    assert F.scaled_dot_product_attention is THEIRS and module.attend is THEIRS


def test_is_an_operator():
    op = torch.ops.regard.scaled_dot_product_attention.default
    mask = torch.rand(3, 3) > 0.3
    for arguments in [
        (Q, Q, Q, None, True, None, False),
        (Q, Q, Q, mask, False, 0.5, False),
        (Q, Q[:, :1], Q[:, :1], None, False, None, True),
        (Q[0], Q, Q, None, False, None, False),
        (Q.transpose(1, 2), Q.transpose(1, 2), Q.transpose(1, 2), None, False, None, False),
    ]:
        torch.library.opcheck(op, arguments)


def test_compile_keeps_it_as_one_node():
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    @torch.compile(backend=backend, fullgraph=True)
    def model(x):
        return F.scaled_dot_product_attention(x * 2, x, x + 1, is_causal=True)

    with torch.no_grad(), regard.torch.patch():
        came = model(Q)
    torch.testing.assert_close(came, THEIRS(Q * 2, Q, Q + 1, is_causal=True))
    assert len(graphs) == 1  # fullgraph=True would have raised at a break
    nodes = [node for node in graphs[0].graph.nodes if "scaled_dot_product" in str(node.target)]
    assert [str(node.target) for node in nodes] == ["regard.scaled_dot_product_attention.default"] or [
        str(node.target) for node in nodes
    ] == ["regard.scaled_dot_product_attention"]
