"""Small canvas files, one for each rule, against what ComfyUI's editor made of them.

The recordings are in tests/data/editor; tests/data/record_editor.py says what each is about.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from orchestrator.workflow.catalogue import Catalogue
from orchestrator.workflow.conversion import canvas_to_graph
from orchestrator.workflow.layout import with_values

DATA = Path(__file__).resolve().parent.parent / "data" / "editor"
CASES = sorted(path.stem for path in DATA.glob("*.json") if path.stem != "object_info")


def read(name: str) -> Any:
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue(read("object_info"))


@pytest.mark.parametrize("name", CASES)
def test_gives_the_graph_that_the_editor_gives(name: str, catalogue: Catalogue) -> None:
    recorded = read(name)
    assert canvas_to_graph(recorded["canvas"], catalogue) == recorded["graph"]


def test_there_is_a_recording_of_every_case() -> None:
    text = (DATA.parent / "record_editor.py").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^@case\ndef (\w+)", text, re.MULTILINE)) == CASES


@pytest.mark.parametrize("name", CASES)
def test_a_layout_says_the_graph_that_it_is_filled_with(name: str, catalogue: Catalogue) -> None:
    """Each file takes another seed, size or text where it has one, or says that it cannot."""
    recorded = read(name)
    graph = json.loads(json.dumps(recorded["graph"]))
    for node in graph.values():
        for key, value in node["inputs"].items():
            if key in ("seed", "width", "batch_size") and type(value) is int:
                node["inputs"][key] = value + 8
    filled = with_values(recorded["canvas"], graph, catalogue)
    if filled is not None:
        assert canvas_to_graph(filled, catalogue) == graph
