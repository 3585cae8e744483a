# tests/python/look_test.py - regard.look on the model that the command shows.
import json
import os
import pathlib
import subprocess

import numpy as np
import pytest

import regard

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
needs_model = pytest.mark.skipif(
    not (CACHE / "regard/models/minilm/model.safetensors").is_file(), reason="the model minilm is not there: regard models get minilm"
)
TEXT = "I sat on the bank of the río and watched the water."


@needs_model
def test_is_what_the_command_shows(tmp_path):
    look = regard.look(TEXT)
    command = ROOT / "build/release/bin/regard"
    shown = json.loads(subprocess.run([command, "look", "--json", "-", TEXT], capture_output=True, check=True).stdout)
    assert look.attention.shape == (6, 12, 15, 15) and look.attention.dtype == np.float32
    assert look.tokens == [token["text"] for token in shown["tokens"]]
    assert np.array_equal(look.attention, np.array(shown["attention"], np.float32))
    np.testing.assert_allclose(look.attention.sum(-1), 1, atol=1e-6)
    assert [TEXT[a:b].lower().replace("í", "i") for a, b in look.spans[1:-1]] == look.tokens[1:-1]
    assert look.special == [True] + [False] * 13 + [True]


@needs_model
def test_page_and_text(tmp_path):
    look = regard.look(TEXT)
    look.html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.startswith("<!doctype html>") and "r\\u00edo" in page and "default-src 'none'" in page
    assert look._repr_html_().startswith("<iframe sandbox=")
    bank = look.tokens.index("bank")
    best = look.top(bank, 2)
    assert len(best) == 2 and best[0][1] >= best[1][1] > 0 and bank not in [j for j, _ in best]
    assert "bank " in str(look)


@needs_model
def test_what_is_too_long():
    with pytest.raises(RuntimeError, match="1002 tokens, the model takes at most 512; truncate=True leaves off"):
        regard.look("a " * 1000)
    assert len(regard.look("a " * 1000, truncate=True).tokens) == 512


@needs_model
def test_page_s_errors(tmp_path):
    look = regard.look("One.")
    with pytest.raises(RuntimeError, match="cannot write"):
        look.html(tmp_path / "missing" / "page.html")
    with pytest.raises(ValueError, match="path is empty"):
        look.html("")


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: regard.look(""), ValueError, "text is empty"),
        (lambda: regard.look(" \n"), ValueError, "text is empty"),
        (lambda: regard.look(3), TypeError, "text is a int"),
        (lambda: regard.look("a\ud800"), ValueError, r"text\[1\] is half of a surrogate"),
        (lambda: regard.look("a", "minlm"), RuntimeError, 'did you mean "minilm"'),
        (lambda: regard.look("a", "minilm", tokenizer=1), ValueError, "tokenizer is given"),
        (lambda: regard.look("a", object()), ValueError, "tokenizer is missing"),
    ],
)
def test_wrong_calls(call, error, words):
    with pytest.raises(error, match=words):
        call()


def transformers_model(kind):
    """A tiny random model and a tokenizer of words."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    words = {word: i for i, word in enumerate(["[UNK]", "[CLS]", "i", "sat", "on", "the", "bank", "río"])}
    raw = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    raw.normalizer = tokenizers.normalizers.Lowercase()
    raw.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    raw.post_processor = tokenizers.processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 1)])
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="[UNK]", cls_token="[CLS]")
    sizes = dict(vocab_size=8, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, max_position_embeddings=16)
    if kind == "llama":
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(num_key_value_heads=2, **sizes))
    else:
        model = transformers.BertModel(transformers.BertConfig(**sizes))
    return model, tokenizer


class WithoutSpecial:
    """The tokenizer, its special tokens not added."""

    is_fast = True

    def __init__(self, tokenizer):
        self.tokenizer, self.convert_ids_to_tokens = tokenizer, tokenizer.convert_ids_to_tokens

    def __call__(self, text, **options):
        return self.tokenizer(text, add_special_tokens=False, **options)


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_a_model_of_transformers(kind, tmp_path):
    model, tokenizer = transformers_model(kind)
    text = "I sat on the bank, the río"
    look = regard.look(text, model, tokenizer=tokenizer)
    assert model.config._attn_implementation != "regard" and model.training  # as it came
    n = len(look.tokens)
    assert look.attention.shape == (2, 4, n, n) and look.tokens[:4] == ["[CLS]", "i", "sat", "on"]
    assert [text[a:b].lower() for a, b in look.spans[1:]] == ["i", "sat", "on", "the", "bank", ",", "the", "río"]
    np.testing.assert_allclose(look.attention.sum(-1), 1, atol=1e-6)
    assert look.sinks == [True] + [False] * (n - 1) == look.special
    plain = regard.look(text, model, tokenizer=WithoutSpecial(tokenizer))
    assert not any(plain.special) and plain.sinks[0] == (kind == "llama")
    assert (0 in [j for j, _ in plain.top(4, n)]) == (kind == "bert")
    model.eval()
    model.set_attn_implementation("eager")
    wanted = model(**tokenizer(text, return_tensors="pt"), output_attentions=True).attentions
    np.testing.assert_allclose(look.attention, [layer[0].detach().numpy() for layer in wanted], atol=1e-6)
    look.html(tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size > 10_000
    with pytest.raises(RuntimeError, match="41 tokens, the model takes at most 16"):
        regard.look("bank " * 40, model, tokenizer=tokenizer)
    assert len(regard.look("bank " * 40, model, tokenizer=tokenizer, truncate=True).tokens) == 16
    with pytest.raises(TypeError, match="model is a object"):
        regard.look("bank", object(), tokenizer=tokenizer)
    with pytest.raises(TypeError, match="tokenizer is a object"):
        regard.look("bank", model, tokenizer=object())
