# tests/python/generate_test.py - regard.generate: the command's text, piece by piece.
import os
import pathlib
import signal
import threading
import time

import pytest

import regard
from regard import _generate

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
needs_model = pytest.mark.skipif(
    not any((CACHE / "regard/models/smollm2").glob("*.gguf")), reason="no model smollm2: regard models get smollm2")
QUESTION = "What is the capital of France?"


@needs_model
def test_pieces_are_the_text():
    answer = regard.generate(QUESTION, temperature=0)
    pieces = list(answer)
    assert len(pieces) > 3 and "".join(pieces) == answer.text == "The capital of France is Paris."
    assert answer.stop == "eos" and answer.stats["tokens"] == len(answer.ids) == 8
    assert answer.stats["prompt_tokens"] == len(answer.prompt_ids)
    assert list(answer) == [], "it has ended"


@needs_model
def test_options_are_those_of_the_command():
    assert "".join(regard.generate("The capital of France is", raw=True, temperature=0, max_tokens=2)) == " Paris."
    cut = regard.generate(QUESTION, temperature=0, stop="nce is")
    assert "".join(cut) == "The capital of Fra" and cut.stop == "stop"
    short = regard.generate(QUESTION, temperature=0, max_tokens=3)
    assert "".join(short) == "The capital of" and short.stop == "length"
    texts = {"".join(regard.generate("Name a river.", seed=seed, max_tokens=12, num_threads=1 + seed % 2)) for seed in (5, 5, 6, 7)}
    assert len(texts) > 1
    again = [regard.generate("Name a river.", seed=5, max_tokens=12, num_threads=n) for n in (1, 2)]
    assert "".join(again[0]) == "".join(again[1])
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
    assert regard.generate(messages).prompt_ids == regard.generate(QUESTION, system="Be brief.").prompt_ids
    messages += [{"role": "assistant", "content": "Paris."}, {"role": "user", "content": "And of Italy?"}]
    assert len(regard.generate(messages).prompt_ids) > 10 + len(regard.generate(messages[:2]).prompt_ids)


@needs_model
def test_one_that_is_left_or_closed_keeps_what_there_is():
    answer = regard.generate("Count to fifty.", temperature=0)
    for piece in answer:
        if len(answer.ids) >= 5:
            break
    text = answer.text
    answer.close()
    assert answer.stop == "interrupt" and answer.text == text and list(answer) == []
    assert regard.generate(QUESTION).stop == "none", "nothing runs before the first piece is asked for"


@needs_model
def test_control_c_ends_a_long_prompt():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    answer = regard.generate("word " * 4000, max_tokens=1)
    threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            next(answer)
            time.sleep(60)
    finally:
        signal.signal(signal.SIGINT, before)
    assert answer.stop in ("interrupt", "length") and time.monotonic() - began < 60


@needs_model
@pytest.mark.parametrize("kwargs, error, words", [
    ({"seed": -1}, ValueError, "generate: seed is -1, expected 0 to 2^63 - 1"),
    ({"sinks": 3}, ValueError, "generate: sinks are for a window, and window is 0"),
    ({"num_threads": 0}, ValueError, "generate: num_threads is 0, expected 1..1024"),
    ({"stop": [1]}, TypeError, "generate: stop is a int, expected a str, or several"),
    ({"raw": 1}, TypeError, "generate: raw is a int, expected True or False"),
    ({"prompt": [{"role": "user"}]}, TypeError, 'expected a dict with "role" and "content"'),
    ({"temperature": -1}, ValueError, "temperature"),
    ({"temperature": float("nan")}, ValueError, "temperature"),
    ({"top_p": 0}, ValueError, "top_p"),
    ({"max_tokens": 0}, ValueError, "max_tokens is 0"),
    ({"max_tokens": "x"}, TypeError, "max_tokens is a str"),
    ({"stop": ""}, ValueError, "stop text is empty"),
    ({"cache_dtype": "f64"}, ValueError, '"f64"'),
    ({"system": "x", "raw": True}, ValueError, "system"),
    ({"model": "minilm"}, (ValueError, RuntimeError), "minilm"),
    ({"model": "nosuch"}, RuntimeError, "nosuch"),
])
def test_errors(kwargs, error, words):
    with pytest.raises(error) as caught:
        regard.generate(**{"prompt": "x", **kwargs})
    assert words in str(caught.value)


@needs_model
def test_a_prompt_beyond_the_context_is_refused_when_it_is_read():
    with pytest.raises(ValueError, match="8192"):
        next(regard.generate("word " * 9000))
    with pytest.raises(ValueError, match="empty"):
        regard.generate("", raw=True)


@needs_model
def test_the_model_is_loaded_once():
    first = _generate._load("smollm2")
    "".join(regard.generate("x", max_tokens=1))
    assert _generate._load("smollm2") is first


@needs_model
def test_other_threads_may_look_while_it_runs():
    answer = regard.generate("Count to ten.", temperature=0, max_tokens=24)
    seen, over = [], threading.Event()

    def look():
        while not over.is_set():
            generation = answer._generation
            if generation is not None:
                seen.append((generation.stats["tokens"], len(generation.ids), generation.stop))

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    text = "".join(answer)
    over.set()
    for thread in threads:
        thread.join()
    assert text == answer.text and len(answer.ids) == 24
    assert seen and all(count <= 24 and stop in ("none", "length") for _, count, stop in seen)


@needs_model
def test_two_threads_load_the_model_once(monkeypatch):
    loads = []
    load = _generate._engine._load_model

    def count(name):
        loads.append(name)
        time.sleep(0.2)
        return load(name)

    monkeypatch.setattr(_generate._engine, "_load_model", count)
    monkeypatch.setattr(_generate, "_kept", {})
    threads = [threading.Thread(target=lambda: regard.generate(QUESTION)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1
