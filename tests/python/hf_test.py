# tests/python/hf_test.py - transformers' models give with regard what they give with "eager".
from __future__ import annotations

import pathlib

import pytest

torch = pytest.importorskip("torch", reason="regard.hf needs torch")
transformers = pytest.importorskip("transformers", reason="regard.hf needs transformers")

import hf_models  # noqa: E402
import regard  # noqa: E402
import regard.hf  # noqa: E402
from transformers import masking_utils as mu  # noqa: E402

TEXTS = {**hf_models.ENCODERS, **hf_models.DECODERS, **hf_models.PAIRS}
OTHERS = {**hf_models.IMAGES, **hf_models.BOTH, **hf_models.SPEECH}
EVERY = {**TEXTS, **OTHERS}
PADDINGS = ["left", "right", "both", "holes"]


def result_of(model, inputs, attn, **kwargs):
    model.set_attn_implementation(attn)
    assert model.config._attn_implementation == attn
    with torch.no_grad():
        output = model(**inputs, **kwargs)
    if "text_embeds" in output:
        return torch.cat([output["text_embeds"], output["image_embeds"]])
    return output["logits"] if "logits" in output else output["last_hidden_state"]


def at_tokens(output, inputs, name):
    is_token = name not in hf_models.PAIRS and "attention_mask" in inputs and output.ndim == 3
    return output[inputs["attention_mask"].bool()] if is_token else output


def relative_error(ours, wanted):
    return ((ours - wanted).abs().max() / wanted.abs().max()).item()


@pytest.fixture
def calls(monkeypatch):
    """Every call of the engine: (query, key, value, the other arguments)."""
    seen = []
    attention = regard.attention

    def spy(query, key, value, **kwargs):
        seen.append((query, key, value, kwargs))
        return attention(query, key, value, **kwargs)

    monkeypatch.setattr(regard, "attention", spy)
    return seen


def planned_masks(calls):
    """What the plans of the calls say that their masks are."""
    texts = set()
    for query, key, value, kwargs in calls:
        arguments = {k: v for k, v in kwargs.items() if k not in ("out", "return_lse")}
        texts.add(str(regard.plan(query, key, value, **arguments).mask))
    return texts


@pytest.mark.parametrize("name", EVERY)
def test_agrees_with_eager(name, calls):
    model = hf_models.build(EVERY[name])
    for padding in [None, *PADDINGS] if name in TEXTS else [None]:
        inputs = hf_models.inputs_of(name, padding)
        wanted = at_tokens(result_of(model, inputs, "eager"), inputs, name)
        calls.clear()
        ours = result_of(model, inputs, "regard")
        assert calls, "the engine was not asked"
        assert torch.isfinite(ours).all()  # padding too
        ours = at_tokens(ours, inputs, name)
        assert relative_error(ours, wanted) <= 1e-5, padding


@pytest.mark.parametrize("name", EVERY)
def test_bfloat16_is_as_near_as_the_better_of_sdpa_and_eager(name):
    model = hf_models.build(EVERY[name])
    inputs = hf_models.inputs_of(name, "left", batch=12)
    exact = at_tokens(result_of(model, inputs, "eager"), inputs, name)
    model = model.bfloat16()
    inputs = {k: v.bfloat16() if v.is_floating_point() else v for k, v in inputs.items()}

    def distance(attn):
        return (at_tokens(result_of(model, inputs, attn), inputs, name).float() - exact).norm().item()

    others = [distance("eager")] + ([distance("sdpa")] if type(model)._supports_sdpa else [])
    assert distance("regard") <= 1.1 * min(others)


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("name", [*hf_models.DECODERS, *hf_models.PAIRS])
def test_greedy_generation(name, cache):
    model = hf_models.build(TEXTS[name])
    inputs = hf_models.inputs_of(name, "left")
    inputs.pop("decoder_input_ids", None)
    options = {
        "max_new_tokens": 8,
        "do_sample": False,
        "return_dict_in_generate": True,
        "output_logits": True,
        "cache_implementation": cache,
    }
    outputs = []
    for attn in ("eager", "regard"):
        model.set_attn_implementation(attn)
        outputs.append(model.generate(**inputs, **options))
    wanted, ours = outputs
    for step, (a, b) in enumerate(zip(wanted.logits, ours.logits, strict=True)):
        assert relative_error(b, a) <= 1e-5, step
        top = a.topk(2).values
        if (a.argmax(-1) != b.argmax(-1)).any():
            assert (top[:, 0] - top[:, 1]).min() <= 1e-4
            return  # from a tie on, each goes its own way
    assert torch.equal(wanted.sequences, ours.sequences)


@pytest.mark.parametrize(
    ("name", "padding", "wanted"),
    [
        ("BERT", None, {"full"}),
        ("BERT", "right", {"full"}),  # kv_lens cut it
        ("BERT", "left", {"per_sequence(!prefix(4), full)"}),
        ("Llama", None, {"causal"}),
        ("Llama", "right", {"causal"}),
        ("Llama", "left", {"per_sequence((causal & !prefix(4)), causal)"}),
        ("Mistral", None, {"(window(4, *) & causal)"}),
        ("Gemma 3", None, {"causal", "(window(3, *) & causal)"}),
        ("Llama 4", None, {"causal", "(document(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2) & causal)"}),
        ("EmbeddingGemma", None, {"full", "((window(2, *) & causal) | window(2, 2))"}),
        ("BART", "right", {"full", "causal"}),
        ("T5", "right", {"full", "causal"}),
        ("ModernBERT", None, {"full", "window(3, 3)"}),
    ],
)
def test_masks_reach_the_engine_as_structure(name, padding, wanted, calls):
    model = hf_models.build(TEXTS[name])
    result_of(model, hf_models.inputs_of(name, padding), "regard")
    assert planned_masks(calls) == wanted


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_no_mask_of_pairs_while_generating(cache, calls):
    model = hf_models.build(TEXTS["Mistral"])
    model.set_attn_implementation("regard")
    inputs = hf_models.inputs_of("Mistral", "left")
    model.generate(**inputs, max_new_tokens=4, do_sample=False, cache_implementation=cache)
    assert len(calls) == 8
    assert not any("dense" in text for text in planned_masks(calls))


def test_packed_sequences_are_documents(calls):
    model = hf_models.build(TEXTS["Llama"])
    ids = torch.randint(5, 90, (1, 12))
    inputs = {"input_ids": ids, "position_ids": torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2, 3]])}
    packed = result_of(model, inputs, "regard", use_cache=False)
    assert planned_masks(calls) == {"(causal & document(0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2))"}
    alone = [result_of(model, {"input_ids": part}, "eager") for part in ids.split([5, 3, 4], dim=1)]
    assert relative_error(packed, torch.cat(alone, dim=1)) <= 1e-5


EXTENTS = {  # q_length, kv_length, q_offset, kv_offset
    "prompt": (12, 12, 0, 0),
    "next token": (1, 12, 11, 0),
    "next tokens": (3, 12, 9, 0),
    "static cache": (4, 16, 8, 0),
    "sliding cache": (1, 5, 11, 7),
}
PACKED = torch.tensor([[0] * 5 + [1] * 7, [0] * 3 + [1] * 4 + [2] * 5])
PACKED_POSITIONS = torch.tensor([[*range(5), *range(7)], [*range(3), *range(4), *range(5)]])
BLOCKS = torch.tensor([[-1, 0, 0, 0, -1, -1, 1, 1, 1, 1, -1, -1] + [-1] * 4, [0, 0, 1, 1] + [-1] * 12])
FUNCTIONS = {
    "causal": mu.causal_mask_function,
    "bidirectional": mu.bidirectional_mask_function,
    "window": mu.sliding_window_causal_mask_function(4),
    "window on both sides": mu.sliding_window_bidirectional_mask_function(3),
    "chunks": mu.chunked_causal_mask_function(5, torch.tensor([4, 0])),
    "blocks": mu.or_masks(mu.causal_mask_function, mu.blockwise_overlay(BLOCKS)),
    "packed": mu.packed_sequence_compatibility_function(mu.causal_mask_function, PACKED_POSITIONS, PACKED),
    "packed window": mu.packed_sequence_compatibility_function(
        mu.sliding_window_causal_mask_function(3), PACKED_POSITIONS, PACKED
    ),
}


CASES = [(f, e) for f in FUNCTIONS for e in EXTENTS if e == "prompt" or not f.startswith("packed")]


@pytest.mark.parametrize("padding", [None, *PADDINGS, "everything"])
@pytest.mark.parametrize(("function", "extent"), CASES)  # sequences are packed only without a cache
def test_structure_allows_what_the_mask_function_allows(function, extent, padding):
    q_length, kv_length, q_offset, kv_offset = EXTENTS[extent]
    tokens = q_offset + q_length
    attention_mask = hf_models.attention_mask(padding).bool()[:, :tokens] if padding else None
    if padding == "everything":
        attention_mask[0] = False
    call = {
        "batch_size": 2,
        "q_length": q_length,
        "kv_length": kv_length,
        "q_offset": q_offset,
        "kv_offset": kv_offset,
        "mask_function": FUNCTIONS[function],
        "attention_mask": attention_mask,
    }
    mask = regard.hf.make_mask(**call)
    dense = mu.sdpa_mask(**call, allow_is_causal_skip=False)
    query, key = torch.zeros(2, 1, q_length, 8), torch.zeros(2, 1, kv_length, 8)
    assert torch.equal(regard.weights(query, key, **mask.options) > 0, dense)
    assert padding == "holes" or "dense" not in str(mask.options.get("mask"))
    assert not isinstance(mask.options.get("mask"), torch.Tensor)
    assert torch.equal(mask & True, dense)


def test_a_mask_function_that_is_not_known_is_made_dense():
    def even_keys(batch_idx, head_idx, q_idx, kv_idx):
        return kv_idx % 2 == 0

    function = mu.and_masks(mu.causal_mask_function, even_keys)
    mask = regard.hf.make_mask(2, 6, 6, mask_function=function)
    dense = mu.sdpa_mask(2, 6, 6, mask_function=function, allow_is_causal_skip=False)
    assert torch.equal(mask.options["mask"], dense)


def test_views_of_a_mask_keep_its_structure():
    mask = regard.hf.make_mask(2, 6, 8, q_offset=2)
    dense = mask & True
    for view in (
        lambda m: m[:, :, -2:],
        lambda m: m[:, :, :, :7],
        lambda m: m.expand(2, 4, 6, 8),
        lambda m: m[:],
    ):
        assert str(view(mask).options["mask"]) == "causal"
        assert torch.equal(view(mask) & True, view(dense))
        query, key = torch.zeros(*view(dense).shape[:3], 8), torch.zeros(2, 1, view(dense).shape[3], 8)
        seen = regard.weights(query, key, **view(mask).options) > 0
        assert torch.equal(seen, view(dense))
    assert torch.equal(mask[:, :, :, 1:], dense[:, :, :, 1:])
    assert torch.equal(torch.where(mask, 1.0, 0.0), dense.float())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_mask_that_is_written_to_is_no_longer_its_structure(mode):
    def first_key(mask):
        mask[:, :, :, 0] = False

    def every_key(mask):
        mask |= True

    with mode():
        for write in (first_key, every_key):
            ours = regard.hf.make_mask(1, 6, 6)
            wanted = ours & True
            write(ours), write(wanted)
            assert torch.equal(ours.options["mask"], wanted)


@pytest.mark.parametrize("as_float", [False, True])
def test_a_mask_of_the_callers_own(as_float):
    model = hf_models.build(TEXTS["Llama"])
    allowed = torch.ones(2, 1, 12, 12).tril().bool() & (torch.rand(2, 1, 12, 12) < 0.7) | torch.eye(12).bool()
    floats = torch.where(allowed, 0.0, torch.finfo(torch.float32).min)
    inputs = {"input_ids": hf_models.inputs_of("Llama")["input_ids"]}
    wanted = result_of(model, {**inputs, "attention_mask": floats}, "eager")
    ours = result_of(model, {**inputs, "attention_mask": floats if as_float else allowed}, "regard")
    assert relative_error(ours, wanted) <= 1e-5


@pytest.mark.parametrize(
    "name", ["BERT", "GPT-2", "Llama", "Gemma 2", "GPT-OSS", "T5", "BART", "ViT", "Whisper"]
)
def test_output_attentions(name):
    model = hf_models.build(EVERY[name])
    inputs = hf_models.inputs_of(name, "right")
    outputs = []
    for attn in ("eager", "regard"):
        model.set_attn_implementation(attn)
        with torch.no_grad():
            outputs.append(model(**inputs, output_attentions=True))
    kinds = [kind for kind in outputs[0] if kind.endswith("attentions")]
    assert kinds
    for kind in kinds:
        for wanted, ours in zip(outputs[0][kind], outputs[1][kind], strict=True):
            torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-5)
            if name != "GPT-OSS":  # its sinks take their share
                torch.testing.assert_close(ours.sum(-1), torch.ones(ours.shape[:3]))


def test_sinks_take_their_share():
    model = hf_models.build(TEXTS["GPT-OSS"])
    model.set_attn_implementation("regard")
    with torch.no_grad():
        weights = model(**hf_models.inputs_of("GPT-OSS"), output_attentions=True).attentions[0]
    assert (weights.sum(-1) < 0.999).all()


@pytest.mark.parametrize("name", hf_models.OWN_ATTENTION)
def test_models_with_attention_of_their_own_are_refused(name):
    model = hf_models.OWN_ATTENTION[name](attn_implementation="regard").eval()
    with torch.no_grad(), pytest.raises(ValueError, match="its attention cannot be chosen"):
        model(**hf_models.inputs_of("BERT", "left"))


def test_gradients_and_dropout_are_refused():
    model = hf_models.build(TEXTS["Llama"])
    model.set_attn_implementation("regard")
    inputs = hf_models.inputs_of("Llama")
    with pytest.raises(ValueError, match="no_grad"):
        model(**inputs)
    model.train()
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.1
    with torch.no_grad(), pytest.raises(ValueError, match=r"dropout 0.1, expected 0: .*model.eval\(\)"):
        model(**inputs)


def test_arguments_of_other_kernels_are_refused():
    query = torch.zeros(1, 1, 2, 8)
    with torch.no_grad(), pytest.raises(ValueError, match="block_indices is not supported"):
        regard.hf.attention_forward(
            torch.nn.Module(), query, query, query, None, block_indices=torch.zeros(1)
        )


def test_a_mask_for_other_keys_is_refused():
    query, key = torch.zeros(1, 1, 2, 8), torch.zeros(1, 1, 5, 8)
    with pytest.raises(ValueError, match=r"of shape \(1, 1, 2, 4\), expected \(1, 1, 2, 5\)"):
        regard.hf.attention_forward(
            torch.nn.Module(), query, key, key, regard.hf.make_mask(1, 2, 4, q_offset=2)
        )


def test_sinks_of_each_query_and_chosen_keys():
    """What Inkling 2 and the sparse DeepSeek models ask for."""
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 4, 5, 8), torch.randn(2, 2, 5, 8), torch.randn(2, 2, 5, 8)
    sinks, indices = torch.randn(2, 4, 5, 1), torch.randint(0, 5, (2, 5, 2))
    indices[:, :, 0] = 0
    mask = regard.hf.make_mask(2, 5, 5)
    out, weights = regard.hf.attention_forward(
        torch.nn.Module(), query, key, value, mask, sinks=sinks, indices=indices, output_attentions=True
    )
    chosen = torch.zeros(2, 5, 5, dtype=torch.bool).scatter_(-1, indices, True)[:, None].tril()
    scores = query @ key.repeat_interleave(2, 1).transpose(2, 3) / 8**0.5
    logits = torch.cat([scores.masked_fill(~chosen, -torch.inf), sinks], -1)
    wanted = logits.softmax(-1)[..., :-1]
    torch.testing.assert_close(weights, wanted, rtol=0, atol=1e-6)
    torch.testing.assert_close(
        out.transpose(1, 2), wanted @ value.repeat_interleave(2, 1), rtol=1e-5, atol=1e-6
    )


def test_from_pretrained(tmp_path, calls):
    model = hf_models.build(TEXTS["Llama"])
    model.save_pretrained(tmp_path)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="regard")
    inputs = hf_models.inputs_of("Llama", "left")
    ours = at_tokens(result_of(loaded, inputs, "regard"), inputs, "Llama")
    wanted = at_tokens(result_of(model, inputs, "eager"), inputs, "Llama")
    assert len(calls) == 2
    assert relative_error(ours, wanted) <= 1e-5


def test_a_compiled_model():
    model = hf_models.build(TEXTS["Llama"])
    inputs = hf_models.inputs_of("Llama", "left")
    wanted = at_tokens(result_of(model, inputs, "eager"), inputs, "Llama")
    model.set_attn_implementation("regard")
    with torch.no_grad():
        ours = torch.compile(model, backend="eager")(**inputs).logits
    assert relative_error(at_tokens(ours, inputs, "Llama"), wanted) <= 1e-5


def test_generation_gives_attentions():
    model = hf_models.build(TEXTS["Llama"])
    options = {
        "max_new_tokens": 3,
        "do_sample": False,
        "return_dict_in_generate": True,
        "output_attentions": True,
    }
    outputs = []
    for attn in ("eager", "regard"):
        model.set_attn_implementation(attn)
        outputs.append(model.generate(**hf_models.inputs_of("Llama"), **options).attentions)
    for wanted, ours in zip(*outputs, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-5)


def test_a_mask_for_one_sequence_serves_a_batch():
    torch.manual_seed(0)
    query, key = torch.randn(3, 2, 4, 8), torch.randn(3, 2, 4, 8)
    padding = torch.tensor([[False, True, True, True]])
    mask = regard.hf.make_mask(1, 4, 4, attention_mask=padding)
    ours, _ = regard.hf.attention_forward(torch.nn.Module(), query, key, key, mask)
    each, _ = regard.hf.attention_forward(
        torch.nn.Module(), query, key, key, regard.hf.make_mask(3, 4, 4, attention_mask=padding.expand(3, -1))
    )
    assert torch.equal(ours, each)


def test_the_page_lists_the_models():
    page = pathlib.Path(__file__).resolve().parents[2] / "docs" / "huggingface.md"
    missing = [name for name in [*EVERY, *hf_models.OWN_ATTENTION] if name not in page.read_text()]
    assert not missing
