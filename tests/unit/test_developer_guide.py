"""docs/DEVELOPER_GUIDE.md names what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def guide(repository: Path) -> str:
    return (repository / "docs" / "DEVELOPER_GUIDE.md").read_text(encoding="utf-8")


def rows(guide: str, section: str) -> list[list[str]]:
    """The cells of each row of a section's table, without its head."""
    text = guide.split(f"\n### {section}\n", 1)[1].split("\n### ", 1)[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def modules(guide: str) -> list[str]:
    """The full name of each module in the table.

    A name that begins with a dot is beside the first of its row; as the first of a row it is in the
    package that was named last.
    """
    found, package = [], ""
    for cells in rows(guide, "Modules and what they may import"):
        first, *others = re.findall(r"`([\w.]+)`", cells[0])
        if not first.startswith("."):
            package = first
        first = first if first == package else package + first
        beside = first.rpartition(".")[0]
        found += [first, *(beside + one if one.startswith(".") else one for one in others)]
    return found


def test_every_module_of_the_table_is_there(repository: Path, guide: str) -> None:
    for name in modules(guide):
        path = repository.joinpath(*name.split("."))
        assert path.is_dir() or path.with_suffix(".py").is_file(), name


def test_every_package_of_the_orchestrator_is_in_the_table(repository: Path, guide: str) -> None:
    there = {
        path.stem
        for path in (repository / "orchestrator").iterdir()
        if (path.is_dir() and (path / "__init__.py").is_file()) or path.suffix == ".py"
    }
    assert {f"orchestrator.{name}" for name in there - {"__init__"}} <= set(modules(guide))


def test_the_words_are_few(guide: str) -> None:
    assert 10 < len(rows(guide, "Words")) <= 30


def test_what_is_said_of_new_things_is_there(repository: Path, guide: str) -> None:
    for cells in rows(guide, "Where something new goes"):
        named = re.findall(r"`([\w/]+(?:/|\.py|\.md|\.toml))`", " ".join(cells))
        paths = [name for name in named if "/" in name or name == "pyproject.toml"]
        assert paths, cells
        for path in paths:
            assert (repository / path).exists(), path
