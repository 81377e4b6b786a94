"""What lies in a batch's folder at the end, whatever its names look like and its servers send."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator.batch import production as batch
from orchestrator.batch.fleet import Choice
from orchestrator.batch.store.store import Store
from orchestrator.runs.looking import SUFFIXES, look
from orchestrator.testing import FakeServer

PLAIN = {"width": 8, "height": 8, "batch_size": 1, "color": 0}
GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": PLAIN},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
# Two nodes save; the second one a larger picture.
TWICE: dict[str, Any] = {
    **GRAPH,
    "3": {"class_type": "EmptyImage", "inputs": {**PLAIN, "width": 16}},
    "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "y"}},
}


class Deaf:
    def happened(self, kind: str, **details: Any) -> None:
        """Take note of nothing."""


class Batch:
    """A manifest, a folder, servers."""

    def __init__(self, folder: Path, *servers: FakeServer) -> None:
        self.folder, self.out, self.servers = folder, folder / "out", servers

    def run(self, names: Sequence[str], graph: Any = GRAPH, **more: Any) -> batch.Result:
        """Make a picture of a colour of its own for each name."""
        (self.folder / "graph.json").write_text(json.dumps(graph), encoding="utf-8")
        items = [
            {"id": f"item{number}", "output": name, "set": {"1.color": number}}
            for number, name in enumerate(names)
        ]
        text = {"name": "dots", "workflow": "graph.json", "items": items, **more}
        manifest = self.folder / "dots.yaml"
        manifest.write_text(json.dumps(text), encoding="utf-8")
        choice = Choice(urls=tuple(server.url for server in self.servers))
        return batch.run(batch.Request(manifest=manifest, out=self.out, choice=choice), Deaf())

    def files(self) -> set[str]:
        """The pictures in the folder."""
        found = (path for path in self.out.rglob("*") if path.suffix in SUFFIXES.values())
        return {path.relative_to(self.out).as_posix() for path in found}

    def sent(self) -> Counter[int]:
        """How often each colour was sent to a server."""
        return Counter(
            one.graph["1"]["inputs"]["color"]
            for server in self.servers
            for one in server.submissions
        )

    def log(self) -> str:
        with Store.open(self.out) as store:
            return "\n".join(event.text for event in store.events())


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


# ------------------------------------------------------------------------------- names


def test_names_that_look_like_each_others_pictures_keep_all_of_them(
    tmp_path: Path, fake: FakeServer
) -> None:
    names = ["x", "x-2", "x-2-2", "x-3", "a", "a/b", "a/b-2", "a.png"]
    made = Batch(tmp_path, fake)
    assert made.run(names, TWICE).is_complete
    assert made.files() == {f"{name}{end}.png" for name in names for end in ("", "=2")}
    assert made.sent() == dict.fromkeys(range(len(names)), 1)
    for number, name in enumerate(names):
        first, second = (look(made.out / f"{name}{end}.png") for end in ("", "=2"))
        assert (first.width, second.width) == (8, 16)
        assert first.graph is not None
        assert first.graph["1"]["inputs"]["color"] == number
        assert second.graph == first.graph
    assert made.run(names, TWICE).is_complete
    assert sum(made.sent().values()) == len(names)


def test_exchanged_names_are_made_once_more_and_then_stay(tmp_path: Path, fake: FakeServer) -> None:
    """A picture keeps the name it was made under until another job's takes it."""
    made = Batch(tmp_path, fake)
    assert made.run(["a", "b"], TWICE).is_complete
    assert made.run(["b", "a", "c"], TWICE).is_complete
    (made.out / "a.png").unlink()
    for _ in range(2):
        assert made.run(["b", "a", "c"], TWICE).is_complete
    assert made.files() == {f"{name}{end}.png" for name in "abc" for end in ("", "=2")}
    assert sum(made.sent().values()) <= 5


def test_a_folder_cannot_be_called_like_a_picture(tmp_path: Path, fake: FakeServer) -> None:
    with pytest.raises(batch.UsageError, match=r"the folder 'a\.png' is called like a picture"):
        Batch(tmp_path, fake).run(["a", "a.png/b"])
