# tests/cli_generate_greedy_test.py - 30 greedy texts of smollm2 against transformers in float32 on the same file.
import json
import os

import pytest

from cli_test import CACHE, REGARD, regard

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("gguf")
pytest.importorskip("accelerate")

FILES = sorted((CACHE / "regard/models/smollm2").glob("*.gguf"))
pytestmark = [
    pytest.mark.skipif(not os.access(REGARD, os.X_OK), reason=f"no {REGARD}: ./dev build"),
    pytest.mark.skipif(not FILES, reason="no model smollm2: regard models get smollm2"),
]
CLOSE = 2e-3  # twice what the logits may be off (docs/generate.md)
PROMPTS = [
    "The capital of France is",
    "Once upon a time, in a village by the sea,",
    "def fibonacci(n):\n    ",
    "#include <stdio.h>\n\nint main(void) {\n",
    "SELECT name, COUNT(*) FROM orders",
    "Q: What is 17 + 25?\nA:",
    "1, 1, 2, 3, 5, 8, 13,",
    "Water boils at 100 degrees Celsius because",
    "Dear Sir or Madam,\n\nI am writing to complain about",
    "- milk\n- eggs\n- bread\n",
    "Le chat est assis sur",
    "Der schnelle braune Fuchs",
    "日本の首都は",
    "Привет, как",
    "🙂🙂🙂",
    "The the the the the the",
    "A",
    "  \n\tx =",
    "\n\n\nCHAPTER I.\n\n",
    "E = mc^2 means that energy",
    "<html>\n<head>\n<title>",
    '{"name": "Ada", "born": 1815, "known_for":',
    "Shall I compare thee to a summer's day?\n",
    "<|im_start|>user\nName three rivers.<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>system\nAnswer in one word.<|im_end|>\n<|im_start|>user\nIs ice cold?<|im_end|>\n<|im_start|>assistant\n",
    "The patient was admitted on 03/14/2019 with a temperature of 39.5",
    "In conclusion, the results of this study show that",
    "ALL CAPS HEADLINES ARE",
    "x" * 40,
    "The river ran past the mill, and the mill stood by the river. " * 12,
]


@pytest.fixture(scope="module")
def reference():
    where = {"pretrained_model_name_or_path": FILES[0].parent, "gguf_file": FILES[0].name}
    model = transformers.AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32).eval()
    return model, transformers.AutoTokenizer.from_pretrained(**where)


def generate(*args):
    result = regard("generate", "--json", "-", *args)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("prompt", PROMPTS, ids=range(len(PROMPTS)))
def test_greedy_text_is_that_of_transformers(reference, prompt):
    model, tokenizer = reference
    ours = generate("--raw", "--temperature", "0", "--cache-dtype", "f32", "--max-tokens", "64", "--", prompt)
    assert ours["prompt_ids"] == tokenizer(prompt)["input_ids"]
    ids = ours["ids"]
    assert len(ids) == 64 or ids[-1] == tokenizer.eos_token_id
    with torch.inference_mode():
        logits = model(torch.tensor([ours["prompt_ids"] + ids])).logits[0]
    for step, token in enumerate(ids, len(ours["prompt_ids"]) - 1):
        assert logits[step].max() - logits[step, token] <= CLOSE, f"token {step}: {token}, theirs {int(logits[step].argmax())}"


def test_an_answer_is_asked_for_in_the_words_of_transformers(reference):
    _, tokenizer = reference
    for system in (None, "Be brief."):
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": " Name a river, 😀. "})
        theirs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
        args = ["--system", system] if system else []
        assert generate("--max-tokens", "1", *args, messages[-1]["content"])["prompt_ids"] == theirs
