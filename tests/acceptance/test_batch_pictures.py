"""What lies in a batch's folder at the end, whatever its names look like and its servers send."""

from __future__ import annotations

import json
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator.batch import production as batch
from orchestrator.batch.execution.fleet import Choice
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.reporting.report.page import write as write_report
from orchestrator.runs.looking import look
from orchestrator.runs.picture_formats import SUFFIXES
from orchestrator.testing import FakeServer, Script
from wrong_pictures import SCRIPT, WRONG

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

    def run(self, names: Sequence[str], graph: Any = GRAPH, **more: Any) -> batch.BatchResult:
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
        return batch.run(batch.BatchRequest(manifest=manifest, out=self.out, choice=choice), Deaf())

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


# ------------------------------------------------------------------------ wrong pictures


@pytest.fixture
def other() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """See that nobody starts Ghostscript meanwhile."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("gs", "gs.bat"):
        imitation = folder / name
        imitation.write_text(f"#!/bin/sh\ntouch '{folder / 'started'}'\n", encoding="utf-8")
        imitation.chmod(imitation.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    yield
    assert not (folder / "started").exists()


def failures(made: Batch) -> list[str]:
    """The kinds of failure of all attempts."""
    with Store.open(made.out) as store:
        found = (one for entry in store.entries() for one in store.attempts_of(entry.job.key))
        return [one.failure for one in found if one.failure]


REFUSED = ["another job's", "another graph", "header and end", "garbage", "eps", "bomb", "empty"]


@pytest.mark.usefixtures("ghostscript")
@pytest.mark.parametrize("kind", REFUSED)
def test_a_wrong_picture_is_refused_and_made_anew(
    tmp_path: Path, fake: FakeServer, kind: str
) -> None:
    fake.script(Script(alters=WRONG[kind]))
    made = Batch(tmp_path, fake)
    assert made.run(["a", "b"]).is_complete
    assert failures(made) == ["result_wrong"]
    assert made.sent() == {0: 2, 1: 1}
    for number, name in enumerate("ab"):
        found = look(made.out / f"{name}.png")
        assert found.graph is not None
        assert found.graph["1"]["inputs"]["color"] == number


@pytest.mark.usefixtures("ghostscript")
@pytest.mark.parametrize("kind", sorted(WRONG.keys() - set(REFUSED)))
def test_an_odd_picture_counts(tmp_path: Path, fake: FakeServer, kind: str) -> None:
    fake.script(Script(alters=WRONG[kind]))
    made = Batch(tmp_path, fake)
    assert made.run(["a", "b"]).is_complete
    assert failures(made) == []
    suffix = ".jpg" if kind == "jpeg" else ".png"
    assert made.files() == {f"a{suffix}", "b.png"}
    found = look(made.out / f"a{suffix}")
    assert (found.width, found.behind) == (9 if kind == "of another size" else 8, 0)
    assert SCRIPT not in (made.out / f"a{suffix}").read_bytes()
    assert (found.graph is None) == (kind == "no graph")
    assert batch.status(made.out)["without_graph"] == (kind == "no graph")
    page = write_report(made.out).read_text(encoding="utf-8")
    assert ("without their graph" in page) == (kind == "no graph")
    assert ("1 picture does not carry the graph that was sent" in made.log()) == (
        kind == "no graph"
    )
    assert ("bytes behind the end" in made.log()) == (kind == "script behind the end")


def test_where_graphs_are_rewritten_on_the_way_a_gate_allows_it(
    tmp_path: Path, fake: FakeServer
) -> None:
    fake.script(*[Script(alters=WRONG["another graph"])] * 99)
    made = Batch(tmp_path, fake)
    assert made.run(["a"], gates={"graph": {"min": 0}}).is_complete
    assert batch.status(made.out)["without_graph"] == 1
    # It is remembered, though the picture has some graph.
    assert made.run(["a"], gates={"graph": {"min": 0}, "width": 8}).is_complete
    assert batch.status(made.out)["without_graph"] == 1
    assert made.sent() == {0: 1}


def test_a_gate_demands_the_size(tmp_path: Path, fake: FakeServer) -> None:
    fake.script(Script(alters=WRONG["of another size"]))
    made = Batch(tmp_path, fake)
    assert not made.run(["a", "b"], gates={"width": 8, "height": 8}).is_complete
    assert made.files() == {"b.png"}
    reasons = [one["reason"] for one in batch.status(made.out)["failures"]]
    assert reasons == ["width is 9, and must be 8"]


def test_a_gate_demands_a_graph(tmp_path: Path, fake: FakeServer, other: FakeServer) -> None:
    """Whoever sends none gets no more jobs, where another server sends them with one."""
    fake.script(*[Script(alters=WRONG["no graph"])] * 99)
    made = Batch(tmp_path, fake, other)
    names = [f"n{number}" for number in range(20)]
    assert made.run(names, gates=["graph"]).is_complete
    # Some more than three may be on their way home when that is noticed.
    assert set(failures(made)) == {"result_wrong"}
    assert batch.status(made.out)["without_graph"] == 0
    words = f"{fake.url} is given up: its pictures were wrong 3 times in a row"
    assert words in made.log()
    assert "graph is 0, and must be at least 1" in made.log()


def test_pictures_that_came_without_a_graph_are_made_again_for_a_new_gate(
    tmp_path: Path, fake: FakeServer
) -> None:
    fake.script(Script(alters=WRONG["no graph"]))
    made = Batch(tmp_path, fake)
    assert made.run(["a", "b"]).is_complete
    assert made.run(["a", "b"], gates=["graph"]).is_complete
    # The server has it in its cache at first.
    assert made.sent() == {0: 3, 1: 1}
    assert len(fake.freed) == 1


def test_the_only_server_goes_on_and_its_jobs_fail_in_the_end(
    tmp_path: Path, fake: FakeServer
) -> None:
    fake.script(*[Script(alters=WRONG["another job's"])] * 99)
    made = Batch(tmp_path, fake)
    assert not made.run(["a", "b"]).is_complete
    assert made.files() == set()
    assert batch.status(made.out)["failed"] == 2
    assert made.sent() == {0: 4, 1: 4}
    assert failures(made) == ["result_wrong"] * 8


def test_of_a_job_whose_second_picture_is_rejected_nothing_is_kept(
    tmp_path: Path, fake: FakeServer
) -> None:
    made = Batch(tmp_path, fake)
    assert not made.run(["a"], TWICE, gates={"width": 8}).is_complete
    assert made.files() == set()
