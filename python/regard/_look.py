"""regard.look: one text through one model, and what each token attended to."""

from __future__ import annotations

import html
import os
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

    def html(self, path: str | os.PathLike[str]) -> None:
        """Writes the interactive page: one file, which asks nobody for anything; there whole or not at all."""
        name = os.fspath(path)
        if not name:
            raise ValueError("html: path is empty, expected a file's name")
        self._page(name)

    def top(self, token: int, count: int = 3) -> list[tuple[int, float]]:
        """The tokens that `token` attends to most, its own and special ones left out: (index, mean share over all heads)."""
        shares = self.attention.mean((0, 1))[token]
        others = [j for j in range(len(self.tokens)) if j != token % len(self.tokens) and not self.special[j]]
        return [(j, float(shares[j])) for j in sorted(others, key=lambda j: -shares[j])[:count]]

    def __str__(self) -> str:
        layers, heads = self.attention.shape[:2]
        lines = [f"{self.model}, mean of {layers * heads} heads"]
        width = max((len(token) for token in self.tokens), default=0)
        for i, token in enumerate(self.tokens):
            if not self.special[i]:
                best = ", ".join(f"{self.tokens[j]} {share:.1%}" for j, share in self.top(i))
                lines.append(f"{token:<{width}}  {best}")
        return "\n".join(lines)

    def _page(self, path: str = "") -> str:
        at = [0]
        for character in self.text:
            at.append(at[-1] + len(character.encode()))
        tokens = [
            (token, at[begin], at[end], special)
            for token, (begin, end), special in zip(self.tokens, self.spans, self.special)
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
    from regard import hf

    return hf.look(text, model, tokenizer, truncate)


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
