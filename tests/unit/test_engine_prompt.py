"""Texts as real ComfyUI cuts and weighs them (tests/data/tokens.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.models.tokenizer import clip_tokenizer
from orchestrator.engine.sampling.prompt import chunks_of, tokens_of, weighted_parts

DATA = Path(__file__).parent.parent / "data" / "tokens.json"
RECORDED: dict[str, dict[str, Any]] = json.loads(DATA.read_text(encoding="utf-8"))

DATA_EMBEDDED = DATA.with_name("embedded_tokens.json")
EMBEDDED: dict[str, Any] = json.loads(DATA_EMBEDDED.read_text(encoding="utf-8"))


def nothing(name: str) -> None:
    return None


@pytest.mark.parametrize("text", RECORDED, ids=lambda text: text[:20])
def test_chunks_are_comfyuis(text: str) -> None:
    tokenizer = clip_tokenizer()
    groups = tokens_of(text, lambda words: tokenizer(words)["input_ids"][1:-1], nothing)
    chunks = chunks_of(
        groups, tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, 77
    )
    assert [[list(token) for token in chunk] for chunk in chunks] == RECORDED[text]["chunks"]


@pytest.mark.parametrize("text", EMBEDDED, ids=lambda text: text[:20])
def test_embeddings_stand_where_comfyui_puts_them(text: str) -> None:
    vectors = {"gold": torch.tensor([[1.0], [2.0]]), "silver": torch.tensor([[3.0]])}
    names = {1.0: "gold 0", 2.0: "gold 1", 3.0: "silver 0"}
    tokenizer = clip_tokenizer()
    groups = tokens_of(text, lambda words: tokenizer(words)["input_ids"][1:-1], vectors.get)
    chunks = chunks_of(
        groups, tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, 77
    )
    found = [
        [[names[float(t)] if isinstance(t, torch.Tensor) else t, weight] for t, weight in chunk]
        for chunk in chunks
    ]
    assert found == EMBEDDED[text]


def test_openclips_tokenizer_fills_up_with_another_token() -> None:
    assert clip_tokenizer("!").pad_token_id == RECORDED[""]["openclip_pad"] == 0


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("plain", [("plain", 1.0)]),
        ("(a)", [("a", 1.1)]),
        ("((a))b", [("a", pytest.approx(1.21)), ("b", 1.0)]),
        ("x (a:1.3) y", [("x ", 1.0), ("a", 1.3), (" y", 1.0)]),
        ("(a (b:2) c:0.5)", [("a ", 0.5), ("b", 2.0), (" c", 0.5)]),
        (r"\(a\)", [("(a)", 1.0)]),
        (r"(\(a\):1.5)", [("(a)", 1.5)]),
        ("[a]", [("[a]", 1.0)]),
        ("", []),
    ],
)
def test_weights(text: str, parts: list[tuple[str, float]]) -> None:
    assert weighted_parts(text) == parts


@given(st.text(alphabet="ab():1.\\ ", max_size=40))
def test_any_text_has_parts(text: str) -> None:
    for part, weight in weighted_parts(text):
        assert isinstance(part, str)
        assert isinstance(weight, float)


@given(st.lists(st.integers(1, 100), max_size=12), st.integers(8, 80))
def test_chunks_keep_every_token_in_order(sizes: list[int], length: int) -> None:
    numbers = iter(range(10, 10_000))
    groups = [[(next(numbers), 1.0) for _ in range(size)] for size in sizes]
    small = [group for group in groups if len(group) >= 8 or len(group) <= length - 2]
    chunks = chunks_of(small, 1, 2, 3, length)
    assert all(len(chunk) == length for chunk in chunks)
    assert all(chunk[0][0] == 1 and (2, 1.0) in chunk for chunk in chunks)
    kept = [token for chunk in chunks for token, _ in chunk if token >= 10]  # type: ignore[operator]
    assert kept == [token for group in small for token, _ in group]


def test_an_embedding_stands_for_its_vectors() -> None:
    vectors = {"gold": torch.ones(2, 4)}
    asked: list[str] = []

    def find(name: str) -> torch.Tensor | None:
        asked.append(name)
        return vectors.get(name)

    text = "a (embedding:gold, coin:1.5) embedding:none x"
    groups = tokens_of(text, lambda words: [len(words)], find)
    assert asked == ["gold,", "gold", "none"]
    assert groups[0] == [(2, 1.0)]
    assert [weight for _, weight in groups[1]] == [1.5, 1.5]
    assert all(torch.equal(vector, torch.ones(4)) for vector, _ in groups[1])  # type: ignore[arg-type]
    assert groups[2] == [(len(", coin"), 1.5)]
