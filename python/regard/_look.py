"""regard.look: one text through one model, and what each token attended to."""

from __future__ import annotations

import contextlib
import html
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard import _engine


@dataclass(frozen=True)
class Look:
    """What ``regard.look`` returns. A notebook shows it as the page that ``html`` writes.

    attention (layers, heads, tokens, tokens), float32: the share of key j in what query i reads is
    ``attention[layer, head, i, j]``; rows sum to 1. tokens: the vocabulary's pieces. spans: where each token stands in the
    text, (begin, end) in characters; (0, 0) for special tokens that the tokenizer added.
    """

    text: str
    model: str
    tokens: list[str]
    spans: list[tuple[int, int]]
    special: list[bool]
    attention: NDArray[np.float32]

    @property
    def sinks(self) -> list[bool]:
        """Tokens that what has nothing better to look at looks at: special ones, and the first one of a causal model."""
        is_causal = len(self.tokens) > 1 and not np.triu(self.attention, 1).any()
        return [special or (is_causal and i == 0) for i, special in enumerate(self.special)]

    def html(self, path: str | os.PathLike[str]) -> None:
        """Writes the interactive page: one file, which asks nobody for anything; there whole or not at all."""
        name = os.fspath(path)
        if not name:
            raise ValueError("html: path is empty, expected a file's name")
        self._page(name)

    def top(self, token: int, count: int = 3) -> list[tuple[int, float]]:
        """The tokens that `token` attends to most, its own and sinks left out: (index, mean share over all heads)."""
        shares, sinks = self.attention[:, :, token].mean((0, 1)), self.sinks
        others = [j for j in range(len(self.tokens)) if j != token % len(self.tokens) and not sinks[j] and shares[j] > 0]
        return [(j, float(shares[j])) for j in sorted(others, key=lambda j: -shares[j])[:count]]

    def __str__(self) -> str:
        layers, heads = self.attention.shape[:2]
        lines, sinks = [f"{self.model}, mean of {layers * heads} heads"], self.sinks
        words = [self.text[begin:end].strip() or token for token, (begin, end) in zip(self.tokens, self.spans)]
        width = max((len(word) for word in words), default=0)
        for i, word in enumerate(words):
            if not sinks[i]:
                best = ", ".join(f"{words[j]} {share:.1%}" for j, share in self.top(i))
                lines.append(f"{word:<{width}}  {best}".rstrip())
        return "\n".join(lines)

    def _page(self, path: str = "") -> str:
        at = [0]
        for character in self.text:
            at.append(at[-1] + len(character.encode()))
        tokens = [
            (token, at[begin], at[end], sink)
            for token, (begin, end), sink in zip(self.tokens, self.spans, self.sinks)
        ]
        return _engine._look_page(self.model, self.text, tokens, np.ascontiguousarray(self.attention), path)

    def _repr_html_(self) -> str:
        page = html.escape(self._page(), quote=True)
        return f'<iframe sandbox="allow-scripts" style="width:100%;height:600px;border:0" srcdoc="{page}"></iframe>'


def look(text: str, model: Any = "minilm", *, tokenizer: Any = None, truncate: bool = False) -> Look:
    """Runs a text through a model on the engine and says what each token attended to.

    model: a name (``regard models``), the folder of a BERT-like model, or any transformers model that runs with
    ``attn_implementation="regard"``, together with its tokenizer. truncate: leave off what is longer than the model takes.
    The weights come from the engine's probe, in the run that computes the model.

    >>> print(regard.look("I sat on the bank of the river.").top(5))  # doctest: +SKIP
    """
    if not isinstance(text, str):
        raise TypeError(f"look: text is a {type(text).__name__}, expected a str")
    if not text.strip():
        raise ValueError("look: text is empty, expected a text with words")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"look: text[{error.start}] is half of a surrogate pair, expected whole characters") from None
    if isinstance(model, (str, os.PathLike)):
        if tokenizer is not None:
            raise ValueError("look: tokenizer is given, expected none: a name or folder brings its own")
        return _look_native(text, os.fspath(model), truncate)
    if tokenizer is None:
        raise ValueError("look: tokenizer is missing, expected the model's: look(text, model=model, tokenizer=tokenizer)")
    return _look_transformers(text, model, tokenizer, truncate)


def _look_native(text: str, model: str, truncate: bool) -> Look:
    name, pieces, attention = _engine._run_look(text, model, truncate)
    at, characters = 0, {0: 0}
    for i, character in enumerate(text):
        at += len(character.encode())
        characters[at] = i + 1
    return Look(
        text=text,
        model=name,
        tokens=[token for token, _, _, _ in pieces],
        spans=[(characters[begin], characters[end]) for _, begin, end, _ in pieces],
        special=[special for _, _, _, special in pieces],
        attention=attention,
    )


def _look_transformers(text: str, model: Any, tokenizer: Any, truncate: bool) -> Look:
    import torch

    import regard.hf  # registers "regard"

    if not hasattr(model, "set_attn_implementation") or not hasattr(model, "config"):
        raise TypeError(f"look: model is a {type(model).__name__}, expected a name, a folder or a model of transformers")
    if not getattr(tokenizer, "is_fast", False):
        kind = type(tokenizer).__name__
        raise TypeError(f"look: tokenizer is a {kind}, expected a fast one of transformers, which knows where tokens stand in the text")
    encoded = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True, return_tensors="pt")
    spans = [(int(begin), int(end)) for begin, end in encoded.pop("offset_mapping")[0]]
    special = [bool(each) for each in encoded.pop("special_tokens_mask")[0]]
    most = getattr(model.config, "max_position_embeddings", None) or len(spans)
    if len(spans) > most:
        if not truncate:
            raise RuntimeError(f"the text is {len(spans)} tokens, the model takes at most {most}; truncate=True leaves off the rest")
        encoded = {name: tensor[:, :most] for name, tensor in encoded.items()}
        spans, special = spans[:most], special[:most]
    with _running_on_regard(model), torch.no_grad():
        result = model(**encoded, output_attentions=True)
    layers = next((result[name] for name in ("attentions", "encoder_attentions") if result.get(name)), None)
    if layers is None:
        raise RuntimeError(f"look: {type(model).__name__} gave no attention of the text's own tokens, expected a text model")
    return Look(
        text=text,
        model=os.path.basename(model.config.name_or_path) or type(model).__name__,
        tokens=tokenizer.convert_ids_to_tokens(encoded["input_ids"][0].tolist()),
        spans=spans,
        special=special,
        attention=torch.cat([layer.float() for layer in layers]).numpy(),
    )


@contextlib.contextmanager
def _running_on_regard(model: Any) -> Iterator[None]:
    """With the engine's attention and without dropout; afterwards as it was."""
    before, training = model.config._attn_implementation, model.training
    model.set_attn_implementation("regard")
    model.eval()
    try:
        yield
    finally:
        model.set_attn_implementation(before)
        model.train(training)
