"""Embeddings that texts name and a server lacks."""

from __future__ import annotations

import pytest

from orchestrator.workflow.embeddings import missing_embeddings, named_embeddings


def graph(*texts: str) -> dict[str, dict[str, object]]:
    return {
        str(number): {"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": ["9", 1]}}
        for number, text in enumerate(texts)
    }


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a red potion", []),
        ("embedding:style, a gem", ["style,"]),
        ("a (embedding:sub/style:1.2) gem", ["sub/style:1.2"]),
        ("a embedding:one\nembedding:two<lora:x>", ["one", "two"]),
        ("noembedding:one", []),
    ],
)
def test_names_in_texts(text: str, names: list[str]) -> None:
    assert named_embeddings(graph(text)) == names


def test_each_name_once() -> None:
    assert named_embeddings(graph("embedding:a", "b embedding:a", "embedding:c")) == ["a", "c"]


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("style", False),
        ("style,", False),
        ("style:1.2", False),
        ("style.safetensors", False),
        ("sub/deep", False),
        ("sub\\deep.pt", False),
        ("styles", True),
        ("deep", True),
    ],
)
def test_those_that_a_server_lacks(name: str, missing: bool) -> None:
    assert bool(list(missing_embeddings([name], ["style", "sub\\deep"]))) is missing


def test_similar_ones_are_named() -> None:
    (said,) = missing_embeddings(["stile:0.8"], ["style"])
    assert said == (
        "the server has no embedding 'stile', did you mean 'style'?; it is left out of the text"
    )
