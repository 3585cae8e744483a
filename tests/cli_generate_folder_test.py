# tests/cli_generate_folder_test.py - regard generate on folders that transformers has written: small random models of each family.
import hashlib
import json
import os

import pytest

from cli_test import REGARD, ROOT, regard

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

pytestmark = pytest.mark.skipif(not os.access(REGARD, os.X_OK), reason=f"no {REGARD}: ./dev build")
CLOSE = 1e-4  # of logits of about 1, in float32 on both sides
PROMPTS = ["The keys and values of a token", "def main():\n    ", "Wörter, 日本語 🙂", "<|end|>The end.<|end|>", "a"]
VOCABULARY = 600
SIZES = {"vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.2, "bos_token_id": 0, "eos_token_id": 0}
CONFIGS = {
    "gpt2": lambda: transformers.GPT2Config(vocab_size=VOCABULARY, n_positions=256, n_embd=64, n_layer=2, n_head=4, initializer_range=0.2,
                                            bos_token_id=0, eos_token_id=0),
    "llama": lambda: transformers.LlamaConfig(**SIZES, tie_word_embeddings=True),
    "mistral": lambda: transformers.MistralConfig(**SIZES, sliding_window=None),
    "qwen2": lambda: transformers.Qwen2Config(**SIZES),
}


@pytest.fixture(scope="module")
def tokenizer():
    """Byte-level BPE as GPT-2's, learnt from this repository's own words."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=["<|end|>"],
                                             initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    made.train([str(ROOT / "README.md"), str(ROOT / "docs/kv-cache.md")], trainer)
    assert made.get_vocab_size() == VOCABULARY
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|end|>", bos_token="<|end|>")


@pytest.fixture(scope="module", params=CONFIGS)
def folder(request, tokenizer, tmp_path_factory):
    torch.manual_seed(7)
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[request.param]()).float().eval()
    path = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path, model


def test_weights_in_several_files(folder, tokenizer, tmp_path):
    path, model = folder
    model.save_pretrained(tmp_path, max_shard_size="60KB")
    tokenizer.save_pretrained(tmp_path)
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 2 and not (tmp_path / "model.safetensors").exists()
    args = ["--raw", "--temperature", "0", "--max-tokens", "8", "--json", "-", PROMPTS[0]]
    one, several = (json.loads(regard("generate", "--model", str(each), *args).stdout) for each in (path, tmp_path))
    assert one["ids"] == several["ids"]
    lines = "".join(f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.name}\n" for each in shards)
    shown = json.loads(regard("look", "--model", str(tmp_path), "--json", "-", PROMPTS[0]).stdout)
    assert hashlib.sha256(lines.encode()).hexdigest() in json.dumps(shown["model"])
    shards[1].unlink()
    missing = regard("generate", "--model", str(tmp_path), "x")
    assert missing.returncode == 1 and shards[1].name.encode() in missing.stderr


@pytest.mark.parametrize("prompt", PROMPTS, ids=range(len(PROMPTS)))
def test_text_is_that_of_transformers(folder, tokenizer, prompt):
    path, model = folder
    result = regard("generate", "--model", str(path), "--raw", "--temperature", "0", "--cache-dtype", "f32", "--max-tokens", "40",
                    "--json", "-", "--", prompt)
    assert result.returncode == 0, result.stderr
    ours = json.loads(result.stdout)
    assert ours["prompt_ids"] == tokenizer(prompt)["input_ids"]
    ids = ours["ids"]
    assert ours["stop"] == ("length" if len(ids) == 40 else "eos") and (len(ids) == 40 or ids[-1] == 0)
    with torch.inference_mode():
        logits = model(torch.tensor([ours["prompt_ids"] + ids])).logits[0]
    for step, token in enumerate(ids, len(ours["prompt_ids"]) - 1):
        assert logits[step].max() - logits[step, token] <= CLOSE, f"token {step}: {token}, theirs {int(logits[step].argmax())}"
    text = ids[:-1] if ours["stop"] == "eos" else ids
    assert ours["text"] == tokenizer.decode(text, skip_special_tokens=True, clean_up_tokenization_spaces=False)
