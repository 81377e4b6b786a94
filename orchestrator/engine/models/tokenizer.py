"""CLIP's tokenizer without a download: rebuilt from the merges that come with the engine."""

from __future__ import annotations

import gzip
import json
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

MERGES = Path(__file__).parent / "data" / "clip_merges.txt.gz"
START, END = "<|startoftext|>", "<|endoftext|>"


@lru_cache(maxsize=2)
def clip_tokenizer(pad: str = END) -> Any:
    """OpenAI's CLIP tokenizer with 49,408 tokens, as transformers' CLIPTokenizer.

    `pad` fills up to 77 tokens: the end token for CLIP-L, "!" (token 0) for OpenCLIP's encoders.
    """
    merges = gzip.decompress(MERGES.read_bytes()).decode("utf-8")
    vocabulary = {token: i for i, token in enumerate(_tokens(merges.splitlines()[1:]))}
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": pad}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "merges.txt").write_text(merges, encoding="utf-8")
        (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
        config = {**special, "tokenizer_class": "CLIPTokenizer", "model_max_length": 77}
        (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
        return load_tokenizer(folder)


def load_tokenizer(folder: Path) -> Any:
    """The CLIPTokenizer in a folder, without asking any hub."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def _tokens(merges: list[str]) -> list[str]:
    """All tokens in the order of their ids: bytes, bytes that end a word, merges, specials."""
    letters = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    letters += range(ord("®"), ord("ÿ") + 1)
    # Bytes that are no printable letter of Latin-1 get code points from 256 on.
    others = [256 + i for i in range(256 - len(letters))]
    alphabet = [chr(code) for code in letters + others]
    words = [letter + "</w>" for letter in alphabet]
    return [*alphabet, *words, *(merge.replace(" ", "") for merge in merges), START, END]
