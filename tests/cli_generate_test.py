# tests/cli_generate_test.py - regard generate as its user meets it: text, JSON, seeds, pipes, interruption, bad input.
import json
import os
import pathlib
import pty
import select
import signal
import subprocess
import time

import jsonschema
import pytest

from cli_test import CACHE, REGARD, ROOT, assert_one_line, regard

MODEL = CACHE / "regard/models/smollm2"
pytestmark = [
    pytest.mark.skipif(not os.access(REGARD, os.X_OK), reason=f"no {REGARD}: ./dev build"),
    pytest.mark.skipif(not any(MODEL.glob("*.gguf")), reason="no model smollm2: regard models get smollm2"),
]
QUESTION = "What is the capital of France?"


def generate(*args, **kwargs):
    result = regard("generate", *args, **kwargs)
    assert result.returncode == 0, result.stderr
    return result


def generate_json(*args, **kwargs):
    return json.loads(generate("--json", "-", *args, **kwargs).stdout)


def test_an_answer_and_nothing_else_goes_to_standard_output():
    result = generate("--temperature", "0", QUESTION)
    assert result.stdout.decode() == "The capital of France is Paris.\n"
    assert result.stderr == b""


def test_raw_takes_the_prompt_as_it_is():
    assert generate("--raw", "--temperature", "0", "--max-tokens", "2", "The capital of France is").stdout == b" Paris.\n"
    same = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    same += f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
    by_hand = generate_json("--raw", "--temperature", "0", same)
    by_template = generate_json("--temperature", "0", QUESTION)
    assert by_hand["prompt_ids"] == by_template["prompt_ids"]
    assert by_hand["text"] == by_template["text"]


def test_json_is_what_the_schema_says():
    schema = json.loads((ROOT / "docs/generate.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    for args in ([QUESTION], ["--max-tokens", "3", QUESTION], ["--stop", "Fra", "--temperature", "0", QUESTION]):
        document = generate_json(*args)
        jsonschema.validate(document, schema)
        assert document["stats"]["prompt_tokens"] == len(document["prompt_ids"])
        assert document["stats"]["tokens"] == len(document["ids"])
    assert document["stop"] == "stop"
    assert document["text"] == "The capital of "


def test_a_seed_gives_the_same_text_on_any_number_of_threads():
    def text(*args):
        return generate_json("--max-tokens", "20", "--temperature", "1", *args, "Tell me a story.")["text"]

    assert text("--seed", "3", "--threads", "1") == text("--seed", "3", "--threads", "2")
    assert text("--seed", "3") != text("--seed", "4")


def test_the_prompt_comes_from_a_pipe_or_a_file(tmp_path):
    expected = generate("--temperature", "0", QUESTION).stdout
    assert generate("--temperature", "0", input=QUESTION.encode() + b"\n").stdout == expected
    (tmp_path / "prompt.txt").write_text(QUESTION + "\n")
    assert generate("--temperature", "0", "--file", str(tmp_path / "prompt.txt")).stdout == expected


def test_a_saved_cache_goes_on_without_its_prompt_being_run(tmp_path):
    cache = tmp_path / "cache"
    args = ["--temperature", "0", "--max-tokens", "12", "Name three rivers."]
    first = generate_json("--save-cache", str(cache), *args)
    assert cache.stat().st_mode & 0o777 == 0o600
    second = generate_json("--load-cache", str(cache), *args)
    assert second["ids"] == first["ids"]
    assert second["stats"]["cached_tokens"] == len(first["prompt_ids"]) - 1
    assert_one_line(regard("generate", "--cache-dtype", "f32", "--load-cache", str(cache), "x"), 1, "dtype is f16, expected f32")
    data = bytearray(cache.read_bytes())
    data[len(data) // 2] ^= 1
    cache.write_bytes(data)
    assert_one_line(regard("generate", "--load-cache", str(cache), "x"), 1, "cache: ", "checksum")


@pytest.mark.parametrize("dtype", ["f32", "bf16", "f16", "int8"])
def test_every_cache_answers(dtype):
    assert "Paris" in generate_json("--temperature", "0", "--cache-dtype", dtype, QUESTION)["text"]


def test_a_window_bounds_the_cache():
    args = ["--temperature", "0", "--max-tokens", "300", "--raw", "Once upon a time"]
    all_of_it = generate_json(*args)["stats"]["cache_bytes"]
    assert generate_json("--window", "32", *args)["stats"]["cache_bytes"] <= all_of_it


def test_an_interrupt_ends_cleanly_with_what_there_is():
    process = subprocess.Popen([REGARD, "generate", "--json", "-", "--max-tokens", "4000", "--raw", "--temperature", "1", "Once"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    document = json.loads(out)
    assert document["stop"] in ("interrupt", "eos")
    assert document["stop"] == "eos" or document["ids"]


class Terminal:
    """regard generate without a prompt, on a terminal of its own."""

    def __init__(self, *args):
        self.main, end = pty.openpty()
        self.process = subprocess.Popen([REGARD, "generate", "--temperature", "0", *args], stdin=end, stdout=end, stderr=end)
        os.close(end)
        self.seen = b""

    def until(self, what):
        while what not in self.seen:
            assert select.select([self.main], [], [], 60)[0], self.seen
            self.seen += os.read(self.main, 4096)
        self.seen = self.seen.split(what, 1)[1]

    def type(self, line):
        os.write(self.main, line.encode() + b"\n")

    def interrupt_the_prompt(self):
        self.until(b"> ")
        time.sleep(0.3)  # it has asked, now it reads
        self.process.send_signal(signal.SIGINT)

    def ends(self):
        status = self.process.wait(timeout=30)
        os.close(self.main)
        return status


def test_a_conversation_on_a_terminal():
    terminal = Terminal("--max-tokens", "30")
    terminal.interrupt_the_prompt()  # as if for an answer that has just ended
    terminal.until(b"Ctrl-C again")
    terminal.until(b"> ")
    terminal.type(QUESTION)
    terminal.until(b"Paris")
    terminal.until(b"> ")
    terminal.type("/exit")
    assert terminal.ends() == 0


def test_a_second_control_c_ends_a_conversation_and_keeps_its_cache(tmp_path):
    cache = tmp_path / "kept.cache"
    terminal = Terminal("--max-tokens", "3", "--save-cache", cache)
    terminal.until(b"> ")
    terminal.type(QUESTION)
    terminal.interrupt_the_prompt()
    terminal.until(b"Ctrl-C again")
    terminal.interrupt_the_prompt()
    assert terminal.ends() == 0
    assert cache.stat().st_size > 0


def test_look_shows_causal_attention_of_the_same_model():
    text = regard("look", "--model", "smollm2", "The river is deep.")
    assert text.returncode == 0, text.stderr
    assert "smollm2" in text.stdout.decode()
    document = json.loads(regard("look", "--model", "smollm2", "--json", "-", "--layer", "3", "--head", "1", "The river is deep.").stdout)
    assert document["model"]["num_kv_heads"] == 3


def test_look_generated_shows_where_each_word_of_the_answer_looked(tmp_path):
    document = json.loads(regard("look", "--generated", "--json", "-", "--layer", "25", QUESTION).stdout)
    jsonschema.validate(document, json.loads((ROOT / "docs/look.schema.json").read_text()))
    answer = generate_json("--temperature", "0", "--cache-dtype", "f32", QUESTION)
    ids, prompt = [token["id"] for token in document["tokens"]], document["prompt_tokens"]
    assert ids[:prompt] == answer["prompt_ids"]
    assert ids[prompt:] == answer["ids"][:-1], "without the token that ended it"
    assert document["text"].endswith(answer["text"])
    assert all(document["tokens"][i]["begin"] <= document["tokens"][i + 1]["begin"] for i in range(len(ids) - 1))
    words = [document["text"].encode()[token["begin"]:token["end"]].decode() for token in document["tokens"][prompt:]]
    assert words == ["The", "capital", "of", "France", "is", "Paris", "."]
    # The same text looked at as a text has the same attention.
    again = json.loads(regard("look", "--model", "smollm2", "--json", "-", "--layer", "25", document["text"]).stdout)
    assert again["attention"] == document["attention"] and "prompt_tokens" not in again

    text = regard("look", "--generated", QUESTION).stdout.decode()
    assert text.splitlines()[0] == "The capital of France is Paris."
    assert f"7 tokens after a prompt of {prompt}" in text
    row = next(line for line in text.splitlines() if line.startswith("Paris"))
    named = row.split()[1::3]
    assert "France#1" in named or "the#1" in named
    assert not any(word.endswith("#2") and "assistant" not in word for word in named), "only the prompt's words"
    assert "<|im_start|>" in text.split("sinks get ")[1]
    page = tmp_path / "page.html"
    regard("look", "--generated", "--html", page, "--raw", "--max-tokens", "2", "The capital of France is")
    assert '"prompt_tokens":5' in page.read_text()


def test_look_generated_is_for_models_that_generate():
    assert_one_line(regard("look", "--raw", "x"), 2, "--raw needs --generated")
    assert_one_line(regard("look", "--max-tokens", "3", "x"), 2, "--max-tokens needs --generated")
    assert_one_line(regard("look", "--generated", "--max-tokens", "0", "x"), 2, "--max-tokens")
    assert_one_line(regard("look", "--generated", "word " * 600), 2, "the prompt is", "at most 512", "shorten it")


@pytest.mark.parametrize("args, words", [
    (["--temperature", "-1", "x"], ["--temperature is -1", "0 or more"]),
    (["--temperature", "nan", "x"], ["--temperature", "expected a number"]),
    (["--top-p", "0", "x"], ["--top-p is 0"]),
    (["--top-p", "7", "x"], ["--top-p is 7"]),
    (["--min-p", "-0.1", "x"], ["--min-p is -0.1"]),
    (["--top-k", "-1", "x"], ["--top-k"]),
    (["--max-tokens", "0", "x"], ["--max-tokens"]),
    (["--cache-dtype", "f64", "x"], ['"f64"', "f32, bf16, f16 or int8"]),
    (["--sinks", "4", "x"], ["--sinks needs --window"]),
    (["--raw", "--system", "s", "x"], ["--system", "--raw"]),
    (["--file", "f", "x"], ["one of the two"]),
    (["--stop", "", "x"], ["--stop"]),
    ([""], ["the text is empty"]),
])
def test_a_wrong_command_line_is_one_line(args, words):
    assert_one_line(regard("generate", *args), 2, *words)


@pytest.mark.parametrize("args, words", [
    (["--cache-bytes", "5", "x"], ["budget_bytes is 5", "one page of 256 tokens"]),
    (["--model", "minilm", "x"], ["minilm", "does not generate", "smollm2"]),
    (["--model", "nosuch", "x"], ['"nosuch"', "smollm2"]),
    (["--file", "/nowhere/prompt", "x"], []),
    (["word " * 9000], ["9031 tokens", "8192", "context"]),
])
def test_what_cannot_be_done_is_one_line(args, words):
    if args[0] == "--model" and args[1] == "minilm" and not (CACHE / "regard/models/minilm/config.json").exists():
        pytest.skip("no model minilm")
    status = 2 if args[0] == "--file" else 1
    assert_one_line(regard("generate", *args), status, *words)


def test_a_damaged_model_is_one_line(tmp_path):
    whole = next(MODEL.glob("*.gguf"))
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(whole.read_bytes()[:1_000_000])
    assert_one_line(regard("generate", "--model", str(broken), "x"), 1, "broken.gguf", "what the file has room for")
