"""Hundreds of canvas files as people saved them, against what ComfyUI's editor made of them.

They lie outside of the project, in `shared/` beside one of its parent folders; without them this is
skipped, and tests/unit/test_editor_recordings.py has the rules one by one.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.runs.converting import convert_file
from orchestrator.workflow.catalogue import Catalogue
from orchestrator.workflow.conversion import canvas_to_graph, convert
from orchestrator.workflow.editor import MADE_WHILE_SENDING


def _shared() -> Path | None:
    folders = (parent / "shared" for parent in Path(__file__).resolve().parents)
    return next((one for one in folders if (one / "conversion").is_dir()), None)


SHARED = _shared()
pytestmark = pytest.mark.skipif(SHARED is None, reason="no shared/conversion beside the project")


def packed(name: str) -> Any:
    assert SHARED is not None
    return gzip.open(SHARED / "conversion" / name, "rt", encoding="utf-8")


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    with packed("object_info.json.gz") as file:
        return Catalogue(json.load(file))


def told(graph: Any) -> Any:
    """A graph without titles."""
    return {key: (node["class_type"], node["inputs"]) for key, node in graph.items()}


def pictured(graph: Any, catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    """Inputs whose value the editor draws while it sends: no file can hold it."""
    for key, node in graph.items():
        for entry in catalogue.node_class(node["class_type"]).widgets:
            if entry.type in MADE_WHILE_SENDING:
                yield key, entry.name


def test_every_file_becomes_the_editors_graph(catalogue: Catalogue) -> None:
    apart, count = [], 0
    with packed("cases.jsonl.gz") as file:
        for line in file:
            entry = json.loads(line)
            count += 1
            conversion = convert(entry["canvas"], catalogue, entry["name"])
            ours, theirs = conversion.graph, entry["graph"]
            for key, name in pictured(theirs, catalogue):
                assert any(f"node {key} " in note for note in conversion.notes), entry["name"]
                ours[key]["inputs"][name] = theirs[key]["inputs"][name]
            ours = conversion.texts.sent(ours, 0)
            if told(ours) != told(theirs):
                apart.append(entry["name"])
    assert (apart, count) == ([], 402)


def case(number: str) -> Path:
    assert SHARED is not None
    found = next((SHARED / "cases").glob(f"{number}-*"), None)
    if found is None:
        pytest.skip(f"no shared/cases/{number}-* beside the project")
    return found


@pytest.mark.parametrize("number", ["01", "03", "04", "05", "06", "08", "09", "11"])
def test_cases_with_a_known_graph(number: str, catalogue: Catalogue) -> None:
    folder = case(number)
    expected = json.loads((folder / "expected-graph.json").read_text(encoding="utf-8"))
    canvas = json.loads((folder / "canvas.json").read_text(encoding="utf-8"))
    assert told(canvas_to_graph(canvas, catalogue)) == told(expected)


def test_nodes_of_the_editor_only(catalogue: Catalogue) -> None:
    found = convert_file(case("12") / "canvas.json", catalogue)
    assert found.graph is not None
    assert len(found.graph) == 7
    assert [note.split(" is left out")[0] for note in found.notes] == [
        "node 90 (Bookmark (rgthree))",
        "node 91 (Label (rgthree))",
    ]


def test_set_and_get(catalogue: Catalogue) -> None:
    canvas = json.loads((case("13") / "canvas.json").read_text(encoding="utf-8"))
    graph = canvas_to_graph(canvas, catalogue)
    (decode,) = (node for node in graph.values() if node["class_type"] == "VAEDecode")
    assert decode["inputs"]["vae"] == ["1", 2]
    assert not {node["class_type"] for node in graph.values()} & {"SetNode", "GetNode"}
