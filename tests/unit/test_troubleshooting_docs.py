"""docs/troubleshooting.md quotes messages as the code says them, or these tests fail."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PAGE = (REPOSITORY / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"^> (.+)$", PAGE, re.MULTILINE)


def texts() -> Iterator[str]:
    """Every string in the code; what is filled in stands as an ellipsis."""
    for package in ("comfy_nodes", "orchestrator"):
        for path in (REPOSITORY / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(_part(value) for value in node.values)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def _part(value: ast.expr) -> str:
    return str(value.value) if isinstance(value, ast.Constant) else "…"


TEXTS = [re.sub(r"\s+", " ", text).strip() for text in texts()]


@pytest.mark.parametrize("message", QUOTED)
def test_every_quoted_message_is_one_of_ours(message: str) -> None:
    """Each piece of a quotation, between what differs, stands in one of the code's strings."""
    pieces = [piece.strip(" .()") for piece in message.split("…")]
    for piece in filter(None, pieces):
        assert any(piece in text for text in TEXTS), piece


def test_there_are_quotations() -> None:
    assert len(QUOTED) > 20


@pytest.mark.parametrize(
    "words", re.findall(r"`((?:is|are|was|no) [^`]+|\w+ is not installed)`", PAGE)
)
def test_words_of_the_log_are_ours(words: str) -> None:
    assert any(words in text for text in TEXTS)


def test_commands_that_are_named_exist(repository: Path) -> None:
    cli = (repository / "docs" / "cli.md").read_text(encoding="utf-8")
    for command in set(re.findall(r"`spriteworks (models \w+)", PAGE)):
        assert f"spriteworks {command}" in cli
