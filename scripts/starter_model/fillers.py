"""Words that say nothing about a picture, put into texts so that the encoder reads over them.

The grammar of the texts has some of them, always in the same places. People put others anywhere: "a
shield painted pink", "an all green armor", "can you draw". Without these lessons the encoder took
one drawing in four for another in such wordings, and for none in those of the grammar.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import CLIPTokenizer

from comfy_nodes.vocabulary import Vocabulary

from .captions import NOISE_WORDS, jumble

_FILLED = 0.5
"""Share of the texts that get some."""

_MOST = 7
"""Words put into one text at most."""

_TOGETHER = 0.5
"""Share of those whose words stand in one place: "a small game icon showing an axe"."""

_LONGEST = 8
"""Tokens of such a word at most."""

_PROMISED = 3
"""How often the words come that the model says it ignores; the others once."""

_MADE_UP, _COMMAS = 200, 60


@dataclass(frozen=True)
class Fillers:
    """Rows of tokens, one word each."""

    words: NDArray[np.int16]
    """(n, 8): a word's tokens, -1 after them."""
    ends: NDArray[np.bool_]
    """(vocabulary,) whether a word ends with this token."""

    def put_into(
        self, tokens: NDArray[np.int16], rng: np.random.Generator, longest: int
    ) -> NDArray[np.int16]:
        """(n, 77) texts with words between theirs in half of them.

        Args:
            longest: tokens that a text may have in all, its start among them.
        """
        filled = tokens.copy()
        for row in np.flatnonzero(rng.random(len(tokens)) < _FILLED):
            filled[row] = self._filled(filled[row], rng, longest)
        return filled

    def _filled(
        self, text: NDArray[np.int16], rng: np.random.Generator, longest: int
    ) -> NDArray[np.int16]:
        padding = text[-1]
        said = text[: int((text == padding).argmax())]
        together, share = rng.random() < _TOGETHER, rng.random()
        for _ in range(int(rng.integers(1, _MOST + 1))):
            word = self.words[rng.integers(0, len(self.words))]
            word = word[word >= 0]
            if len(said) + len(word) > longest:
                break
            places = 1 + np.flatnonzero(np.r_[True, self.ends[said[1:]]])
            if not together:
                share = rng.random()
            said = np.insert(said, places[int(share * len(places))], word)
        return np.r_[said, np.full(len(text) - len(said), padding, text.dtype)]


def make_fillers(known: Vocabulary, tokenizer: CLIPTokenizer, rng: random.Random) -> Fillers:
    """The words that the model says it ignores, and words of no meaning."""
    words = sorted(known.ignores) * _PROMISED
    words += [one.word for one in known.unknown(" ".join(NOISE_WORDS))]
    words += [jumble(rng) for _ in range(_MADE_UP)] + [","] * _COMMAS
    return Fillers(_rows(tokenizer, words), _ends(tokenizer))


def _rows(tokenizer: CLIPTokenizer, words: Sequence[str]) -> NDArray[np.int16]:
    rows = np.full((len(words), _LONGEST), -1, dtype=np.int16)
    for row, word in zip(rows, words, strict=True):
        found = tokenizer(word, add_special_tokens=False)["input_ids"][:_LONGEST]
        row[: len(found)] = found
    return rows


def _ends(tokenizer: CLIPTokenizer) -> NDArray[np.bool_]:
    names = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    return np.array([name.endswith("</w>") for name in names])
