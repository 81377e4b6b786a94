"""The tokenizer: a byte-level BPE like CLIP's, trained on the caption corpus."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

START = "<|startoftext|>"
END = "<|endoftext|>"
POSITIONS = 77
"""Tokens a text, start and end included, as in CLIP."""

_SPLIT = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|[^\s\w]+|_+")
"""CLIP's split into words, single digits and runs of punctuation, for lower-case text."""


def byte_letters() -> dict[int, str]:
    """GPT-2's table of a printable letter for every byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {byte: chr(byte) for byte in printable}
    spare = 256
    for byte in range(256):
        if byte not in table:
            table[byte] = chr(spare)
            spare += 1
    return table


def count_words(texts: list[str]) -> Counter[tuple[str, ...]]:
    """Words of lower-cased texts as byte letters, the last one marked with ``</w>``."""
    letters = byte_letters()
    counts: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        for word in _SPLIT.findall(text.lower()):
            parts = [letters[byte] for byte in word.encode()]
            parts[-1] += "</w>"
            counts[tuple(parts)] += 1
    return counts


def learn_merges(counts: Counter[tuple[str, ...]], limit: int) -> list[tuple[str, str]]:
    """Byte-pair merges, most frequent first; ties in alphabetical order, so runs agree."""
    words = [(word, count) for word, count in counts.items() if count > 1]
    pairs: Counter[tuple[str, str]] = Counter()
    places: dict[tuple[str, str], set[int]] = {}
    for index, (word, count) in enumerate(words):
        for pair in pairwise(word):
            pairs[pair] += count
            places.setdefault(pair, set()).add(index)
    merges: list[tuple[str, str]] = []
    while len(merges) < limit and pairs:
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        # Only words that have the pair change what pairs there are.
        for index in places.pop(best):
            word, count = words[index]
            for pair in pairwise(word):
                pairs[pair] -= count
            word = _merge(word, best)
            words[index] = word, count
            for pair in pairwise(word):
                pairs[pair] += count
                places.setdefault(pair, set()).add(index)
        pairs = +pairs
    return merges


def _merge(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    parts: list[str] = []
    index = 0
    while index < len(word):
        if index + 1 < len(word) and (word[index], word[index + 1]) == pair:
            parts.append(word[index] + word[index + 1])
            index += 2
        else:
            parts.append(word[index])
            index += 1
    return tuple(parts)


def write_tokenizer(folder: Path, texts: list[str], limit: int) -> int:
    """Train a CLIPTokenizer on the texts and write its folder; returns the number of tokens.

    Ids follow CLIP: 256 bytes, 256 bytes that end a word, the merges, start, end. The end token is
    the last id, because transformers and ComfyUI both look for it by ``eos_token_id``.
    """
    merges = learn_merges(count_words(texts), limit)
    letters = [byte_letters()[byte] for byte in range(256)]
    tokens = letters + [letter + "</w>" for letter in letters]
    tokens += list(dict.fromkeys(first + second for first, second in merges))
    tokens += [START, END]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    special = {
        "content": "",
        "lstrip": False,
        "normalized": False,
        "rstrip": False,
        "single_word": False,
    }
    start, end = {**special, "content": START}, {**special, "content": END}
    config: dict[str, Any] = {
        "add_prefix_space": False,
        "bos_token": {"__type": "AddedToken", **start},
        "do_lower_case": True,
        "eos_token": {"__type": "AddedToken", **end},
        "errors": "replace",
        "model_max_length": POSITIONS,
        "pad_token": END,
        "tokenizer_class": "CLIPTokenizer",
        "unk_token": {"__type": "AddedToken", **end},
    }
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "vocab.json", vocabulary)
    lines = ["#version: 0.2", *(f"{first} {second}" for first, second in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    _write_json(folder / "tokenizer_config.json", config)
    _write_json(
        folder / "special_tokens_map.json",
        {"bos_token": start, "eos_token": end, "pad_token": END, "unk_token": end},
    )
    return len(tokens)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(
        json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8", newline="\n"
    )
