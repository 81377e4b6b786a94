r"""A text with weights and embeddings, cut into chunks of tokens as ComfyUI cuts it.

`(word)` weighs 1.1 times more, `(word:1.3)` weighs 1.3, parentheses nest, and `\(` is a plain
parenthesis. `embedding:name` stands for the vectors of that file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import torch

from ...errors import InputError

# A token's id, or a vector [D] in its place; and its weight.
Token = tuple[int | torch.Tensor, float]
Chunk = list[Token]
# Looks an embedding up: its vectors [N, D], or None where there is no such file.
FindEmbedding = Callable[[str], torch.Tensor | None]
Encode = Callable[[str], Sequence[int]]

EMPHASIS = 1.1
# Parentheses within each other. So many weigh a word 14,000 times; ComfyUI fails at some 900.
DEEPEST = 100
# Words of this many tokens and more are cut at a chunk's end; shorter ones move on whole.
LONG_WORD = 8
_MARK = "embedding:"
# Escaped parentheses, while the others are parsed.
_OPEN, _CLOSE = "\0\2", "\0\1"


def weighted_parts(text: str, weight: float = 1.0) -> list[tuple[str, float]]:
    """The text in order as (part, weight), without the parentheses that made the weights.

    Raises InputError where they are nested more than DEEPEST deep.
    """
    hidden = text.replace("\\)", _CLOSE).replace("\\(", _OPEN)
    if _depth(hidden) > DEEPEST:
        raise InputError(
            f"the text has parentheses nested more than {DEEPEST} deep; each makes the words in "
            f"it weigh {EMPHASIS} times more, so write (words:1.5) instead"
        )
    return [
        (part.replace(_CLOSE, ")").replace(_OPEN, "("), part_weight)
        for part, part_weight in _weigh(hidden, weight)
    ]


def _depth(text: str) -> int:
    """How many pairs of parentheses enclose each other, in one pass."""
    # of each open one: how deep the pairs in it are nested
    opened: list[int] = []
    deepest = 0
    for mark in re.finditer(r"[()]", text):
        if mark[0] == "(":
            opened.append(0)
        elif opened:
            depth = opened.pop() + 1
            deepest = max(deepest, depth)
            if opened:
                opened[-1] = max(opened[-1], depth)
    return deepest


def _weigh(text: str, weight: float) -> Iterator[tuple[str, float]]:
    for part in _split_parentheses(text):
        if len(part) < 2 or part[0] != "(" or part[-1] != ")":
            yield part, weight
            continue
        inner, stated = _stated_weight(part[1:-1])
        yield from _weigh(inner, weight * EMPHASIS if stated is None else stated)


def _stated_weight(inner: str) -> tuple[str, float | None]:
    """Split `word:1.3` into the word and 1.3; None where no number is stated."""
    word, colon, number = inner.rpartition(":")
    if not colon or not word:
        return inner, None
    try:
        return word, float(number)
    except ValueError:
        return inner, None


def _split_parentheses(text: str) -> list[str]:
    """Outermost parenthesised parts, and what lies between them."""
    parts, start, depth = [], 0, 0
    for i, letter in enumerate(text):
        if letter == "(":
            if depth == 0:
                parts.append(text[start:i])
                start = i
            depth += 1
        elif letter == ")":
            depth -= 1
            if depth == 0:
                parts.append(text[start : i + 1])
                start = i + 1
    return [part for part in [*parts, text[start:]] if part]


def tokens_of(text: str, encode: Encode, find: FindEmbedding) -> list[Chunk]:
    """Tokens with their weights, one group for each stretch of text or embedding.

    `encode` gives the ids of a text without its start and end. Raises InputError as
    `weighted_parts` does.
    """
    groups: list[Chunk] = []
    for part, weight in weighted_parts(text):
        first, *named = re.split(rf"(?<=\s){_MARK}", part)
        # Only an embedding at the very start has no blank before it.
        pieces = [first, *(_MARK + name for name in named)]
        for piece in filter(None, pieces):
            words = piece
            if piece.startswith(_MARK):
                vectors, words = _resolve(piece[len(_MARK) :].strip("\n"), find)
                if vectors is not None:
                    groups.append([(vector, weight) for vector in vectors])
            if words or not piece.startswith(_MARK):
                groups.append([(token, weight) for token in encode(words)])
    return groups


def _resolve(text: str, find: FindEmbedding) -> tuple[torch.Tensor | None, str]:
    """The embedding that the first word names, and the words left after it."""
    name, *words = text.split() or [""]
    name, bracket = _until_bracket(name)
    rest = " ".join([bracket, *words] if bracket else words)
    vectors = find(name)
    bare = name.strip(",")
    if vectors is None and bare != name:
        return find(bare), f"{name[len(bare) :]} {rest}"
    return vectors, rest


def _until_bracket(name: str) -> tuple[str, str]:
    """A name ends where other tools' marks begin, such as `<lora:...>` and `[...]`."""
    found = re.search(r"[<\[]", name)
    return (name[: found.start()], name[found.start() :]) if found else (name, "")


def chunks_of(groups: list[Chunk], start: int, end: int, pad: int, length: int) -> list[Chunk]:
    """Chunks of `length` tokens, each from `start` to `end` and filled up with `pad`."""
    chunk: Chunk = [(start, 1.0)]
    chunks = [chunk]
    for group in groups:
        cut = len(group) >= LONG_WORD
        while len(group) > (room := length - 1 - len(chunk)):
            if cut:
                chunk += group[:room]
                group = group[room:]
            _close(chunk, end, pad, length)
            chunk = [(start, 1.0)]
            chunks.append(chunk)
        chunk += group
    _close(chunk, end, pad, length)
    return chunks


def _close(chunk: Chunk, end: int, pad: int, length: int) -> None:
    chunk.append((end, 1.0))
    chunk += [(pad, 1.0)] * (length - len(chunk))
