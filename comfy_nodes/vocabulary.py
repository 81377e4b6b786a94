"""The words that a model was trained on, where it says so: small models know few.

A model folder may hold a words.json: {"knows": [...], "ignores": [...]}, words in lower case. What
is in neither means nothing to the model. Models without that file are taken to know every word.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from .errors import ModelUnreadable

WORDS_FILE = "words.json"

# Words; what is only digits, or one letter, is none. Weights as in (red:1.3), names of embeddings.
_WORD = re.compile(r"[^\W\d_]{2,}(?:'[^\W\d_]+)?")
_EMBEDDING = re.compile(r"embedding:\S+")
# A word's ending, and what may stand there in the model's list instead.
_ENDINGS = (("'s", ""), ("ies", "y"), ("ves", "f"), ("es", ""), ("s", ""))
# difflib's ratio from which on another word may have been meant.
_NEAR = 0.6
# And for the one that is named where nothing is as near.
_FAR = 0.4
_NAMED = 3
# Words that one sentence names.
_TOLD = 12


@dataclass(frozen=True)
class Unknown:
    """A word that a model does not know, and the nearest that it does, best first."""

    word: str
    nearest: tuple[str, ...]

    def __str__(self) -> str:
        near = f" (nearest: {', '.join(self.nearest)})" if self.nearest else ""
        return f"'{self.word}'{near}"


@dataclass(frozen=True)
class Vocabulary:
    """The words of one model."""

    knows: tuple[str, ...]
    """What it draws: things, colours, parts."""
    ignores: frozenset[str] = frozenset()
    """What it was taught to read over: grammar, and what people put around a prompt."""

    def unknown(self, text: str) -> list[Unknown]:
        """The words of a text that are in neither list, each once, in the text's order."""
        words = _WORD.findall(_EMBEDDING.sub(" ", text).lower())
        return [
            Unknown(word, self.nearest(word))
            for word in dict.fromkeys(words)
            if not any(one in self._all for one in _forms(word))
        ]

    def nearest(self, word: str) -> tuple[str, ...]:
        """Known words that are spelt much like this one."""
        return _nearest(self.knows, word)

    def beginning(self, prefix: str) -> list[str]:
        """The known words that begin so, sorted."""
        return sorted(word for word in self.knows if word.startswith(prefix.lower()))

    def to_json(self) -> dict[str, list[str]]:
        """The shape of words.json."""
        return {"knows": sorted(self.knows), "ignores": sorted(self.ignores)}

    @cached_property
    def _all(self) -> frozenset[str]:
        return self.ignores | set(self.knows)


def warning(
    model: str, unknown: Sequence[Unknown], there: Mapping[str, Vocabulary] | None = None
) -> str:
    """One sentence that tells of words that a model does not know, and of models that do.

    `there` are the words of the models that may be chosen instead, by their names.
    """
    words = ", ".join(map(str, unknown[:_TOLD]))
    if len(unknown) > _TOLD:
        words += f" and {len(unknown) - _TOLD} more"
    one, it = ("the word", "it") if len(unknown) == 1 else ("the words", "them")
    text = " ".join(one.word for one in unknown)
    others = sorted(name for name, known in (there or {}).items() if not known.unknown(text))
    elsewhere = f"the model {' or '.join(others)} knows {it}; " if others else ""
    return (
        f"{model} does not know {one} {words}: its pictures will not show {it}; {elsewhere}"
        f"'spriteworks models words --model {model}' lists what it knows"
    )


def read_vocabulary(data: Any) -> Vocabulary | None:
    """The vocabulary in parsed JSON; None where it is of another shape."""
    if not isinstance(data, dict):
        return None
    lists = [data.get("knows"), data.get("ignores", [])]
    if not all(isinstance(one, list) and all(isinstance(w, str) for w in one) for one in lists):
        return None
    knows, ignores = lists
    return Vocabulary(tuple(knows or ()), frozenset(ignores or ()))


def vocabulary_of(folder: Path) -> Vocabulary | None:
    """The words of a model folder; None where it has no words.json.

    Raises ModelUnreadable where that is damaged.
    """
    file = folder / WORDS_FILE
    if not file.is_file():
        return None
    try:
        found = read_vocabulary(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ModelUnreadable(f"{folder.name}/{file.name} cannot be read ({error})") from error
    if found is None:
        raise ModelUnreadable(
            f"{folder.name}/{file.name} is no list of words: it needs 'knows' and 'ignores'"
        )
    return found


@lru_cache(maxsize=1024)
def _nearest(known: tuple[str, ...], word: str) -> tuple[str, ...]:
    near = difflib.get_close_matches(word, known, _NAMED, _NEAR)
    return tuple(near or difflib.get_close_matches(word, known, 1, _FAR))


def _forms(word: str) -> Iterable[str]:
    """The word, and what it may be the plural of."""
    yield word
    for ending, instead in _ENDINGS:
        if word.endswith(ending):
            yield word[: -len(ending)] + instead
