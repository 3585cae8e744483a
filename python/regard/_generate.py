"""regard.generate: text from a language model, as it is made."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from regard import _engine

_loading = threading.Lock()
_kept: dict[tuple[str, int, int], _engine._Model] = {}  # the model loaded last, by its file and that file's state


class Generation(Iterator[str]):
    """What ``regard.generate`` returns: an iterator over pieces of text, whole characters each.

    text: all of it so far. ids: its tokens, one that ended it included; prompt_ids: those of the prompt. stop: "none" while it
    goes on; "length" (max_tokens or the model's context), "eos", "stop" (a stop text came, which is no part of the text) or
    "interrupt" (Ctrl-C or close()). stats: tokens, tokens/s of prompt and answer, attention's share of the time, bytes of the
    cache.
    """

    def __init__(self, generation: _engine._Generation) -> None:
        self._generation: _engine._Generation | None = generation
        self._begun = False
        self.text = ""
        self.prompt_ids: list[int] = generation.prompt_ids
        self.ids: list[int] = []
        self.stop = "none"
        self.stats: dict[str, Any] = generation.stats

    def __iter__(self) -> Generation:
        return self

    def __next__(self) -> str:
        while self._generation is not None:
            try:
                piece = self._step(self._generation)
            except KeyboardInterrupt:
                self.close()
                raise
            if piece:
                return piece
        raise StopIteration

    def close(self) -> None:
        """Ends it; what there is of the text stays. The memory of the cache is given back."""
        if self._generation is not None:
            self._finish(self._generation, "interrupt")

    def _step(self, generation: _engine._Generation) -> str:
        if not self._begun:
            generation.prompt()
            self._begun = True
        made = generation.next()
        piece = made[1] if made is not None else generation.rest
        self.text += piece
        self.ids = generation.ids
        if made is None:
            self._finish(generation, generation.stop)
        return piece

    def _finish(self, generation: _engine._Generation, stop: str) -> None:
        self.ids, self.stats, self.stop = generation.ids, generation.stats, stop
        self._generation = None


def generate(
    prompt: str | Sequence[Mapping[str, str]],
    model: str | os.PathLike[str] = "smollm2",
    *,
    system: str = "",
    raw: bool = False,
    max_tokens: int = 512,
    temperature: float = 0.7,
    top_k: int = 0,
    top_p: float = 0.95,
    min_p: float = 0.0,
    seed: int = 0,
    stop: str | Sequence[str] = (),
    cache_dtype: str = "f16",
    window: int = 0,
    sinks: int | None = None,
    num_threads: int | None = None,
) -> Generation:
    """Text from a language model, piece by piece: ``for piece in regard.generate("Why is the sky blue?")``.

    Nothing runs before the first piece is asked for. The same seed, prompt, options and model give the same text, on any number
    of threads. The model that was loaded last is kept for the next call.

    Arguments:
        prompt: what the user says, or a conversation: dicts with "role" ("system", "user", "assistant") and "content".
        model: a name of ``regard models`` (``regard models get smollm2`` fetches it), a .gguf file, or a folder of Hugging Face's.
        system: what the model is told before the conversation.
        raw: the prompt as it is, special tokens in it recognised, without the model's chat template.
        max_tokens: at most so many.
        temperature: 0 is greedy. top_k, top_p, min_p: as in transformers; 0, 1 and 0 leave all tokens.
        seed: of the choice.
        stop: a text, or several, where the answer ends.
        cache_dtype: "f32", "bf16", "f16" or "int8": how keys and values are kept.
        window, sinks: each token sees the last `window` tokens and the first `sinks` (4); window 0 is all, and has no sinks.
        num_threads: as many as the process may use unless given.

    Raises ValueError for arguments, prompts beyond the model's context among them; RuntimeError for a model that is not there or
    cannot be run; KeyboardInterrupt soon after Ctrl-C, with what there is of the text kept.

    >>> answer = regard.generate("What is the capital of France?", temperature=0)
    >>> "".join(answer), answer.stop
    ('The capital of France is Paris.', 'eos')
    """
    if not isinstance(raw, bool):
        raise TypeError(f"generate: raw is a {type(raw).__name__}, expected True or False")
    if isinstance(prompt, str):
        messages = [("user", prompt)]
    elif raw:
        raise TypeError(f"generate: prompt is a {type(prompt).__name__}, expected a str with raw=True")
    else:
        messages = [_message(each) for each in prompt]
    if system and raw:
        raise ValueError("generate: system is for templates, and raw=True has none")
    if sinks is not None and not window:
        raise ValueError("generate: sinks are for a window, and window is 0")
    if system:
        messages.insert(0, ("system", system))
    stops = [stop] if isinstance(stop, str) else list(stop)
    for each in stops:
        if not isinstance(each, str):
            raise TypeError(f"generate: stop is a {type(each).__name__}, expected a str, or several")
    options = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "seed": seed,
        "cache_dtype": cache_dtype,
        "window": window,
        "sinks": 4 if sinks is None else sinks,
    }
    return Generation(_engine._Generation(_load(os.fspath(model)), messages, raw, stops, options, num_threads))


def _message(message: Mapping[str, str]) -> tuple[str, str]:
    try:
        role, content = message["role"], message["content"]
    except (KeyError, TypeError):
        raise TypeError(f'generate: prompt has {message!r}, expected a dict with "role" and "content"') from None
    if not isinstance(role, str) or not isinstance(content, str):
        raise TypeError(f'generate: prompt has {message!r}, expected texts as "role" and "content"')
    return role, content


def _load(name: str) -> _engine._Model:
    file = _engine._model_file(name)
    state = os.stat(file)
    key = (file, state.st_mtime_ns, state.st_size)
    with _loading:  # two threads that want a model load it once
        if key not in _kept:
            _kept.clear()  # one at a time: they are large
            _kept[key] = _engine._load_model(name)
        return _kept[key]
