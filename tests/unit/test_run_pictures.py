"""A run's pictures count as a batch's do: decoded, and of the graph that was sent."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import orchestrator as spriteworks
from orchestrator.testing import FakeServer, Script
from wrong_pictures import SCRIPT, WRONG

GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 7},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
COUNT = {"of another size", "jpeg", "script behind the end", "16 bits", "no graph"}


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(GRAPH), encoding="utf-8")
    return path


def made(kind: str, workflow: Path, out: Path, *, any_graph: bool = False) -> spriteworks.Made:
    with FakeServer() as fake, spriteworks.connect(fake.url) as server:
        fake.script(Script(alters=WRONG[kind]))
        return server.run(workflow, out=out, any_graph=any_graph)


@pytest.mark.parametrize("kind", sorted(set(WRONG) - COUNT))
def test_a_wrong_picture_leaves_nothing(kind: str, workflow: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(spriteworks.ResultWrong, match=r"that (picture|is no)"):
        made(kind, workflow, out)
    assert not out.exists()


@pytest.mark.parametrize("kind", sorted(COUNT))
def test_an_odd_picture_counts(kind: str, workflow: Path, tmp_path: Path) -> None:
    found = made(kind, workflow, tmp_path / "out")
    (picture,) = found.pictures
    assert picture.path.suffix == (".jpg" if kind == "jpeg" else ".png")
    assert picture.image().size == (picture.width, picture.height)
    assert SCRIPT not in picture.content
    notes = {"script behind the end": "behind its end", "no graph": "does not carry the graph"}
    said = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))["notes"]
    assert len(said) == (kind in notes)
    assert notes.get(kind, "") in "".join(said)


def test_a_server_that_rewrites_graphs_may_be_allowed_to(workflow: Path, tmp_path: Path) -> None:
    found = made("another graph", workflow, tmp_path / "out", any_graph=True)
    assert "does not carry the graph that was sent" in "".join(found.notes)


@pytest.mark.skipif(sys.platform == "win32", reason="a fake gs is a shell script")
def test_no_byte_of_a_server_starts_ghostscript(
    workflow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "bin"
    place.mkdir()
    (place / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n", encoding="utf-8")
    (place / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(place))
    with pytest.raises(spriteworks.ResultWrong):
        made("eps", workflow, tmp_path / "out")
    assert not (tmp_path / "started").exists()
