"""What requests make: whose files count where two processes meet, and what they are called."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.batch.execution.collecting import CollectedPicture
from orchestrator.batch.execution.dispatcher import Dispatcher, DispatchSettings, Fate, Finished
from orchestrator.batch.execution.store import tables as batch
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.assignments import Assignment
from orchestrator.batch.logic.jobs import Attempt, State
from orchestrator.errors import OutputError
from orchestrator.runs.fetching import Fetched
from orchestrator.service import tables
from orchestrator.service.assets import Assets
from orchestrator.service.prompting import Workflows
from orchestrator.service.recipe import IntoStorage
from orchestrator.service.requests import New, Requests
from orchestrator.service.storage import ABANDONED, Storage
from orchestrator.service.supplies import Supplies
from orchestrator.testing import FakeServer
from service_parts import files_of
from service_world import graph, serving, until

REQUEST = "11111111-1111-4111-8111-111111111111"
HERE = "http://here"


class Silent:
    def happened(self, kind: str, **details: Any) -> None:
        """Say nothing."""


class Process:
    """One service of two on one record and one storage."""

    def __init__(self, folder: Path, name: str) -> None:
        self.store = Store.open(folder)
        self.storage = Storage(folder / "files")
        self.assets = Assets(self.store.database, self.storage)
        self.requests = Requests(self.store)
        supplies = Supplies(
            self.requests, self.assets, Workflows(default="sprite"), lambda *_: None
        )
        self.collector = IntoStorage(supplies, supplies)
        settings = DispatchSettings(owner=name, lease=30.0, endless=True)
        self.dispatcher = Dispatcher(self.store, Silent(), settings)
        self.dispatcher.join(HERE)

    def take(self) -> Assignment:
        assignment = self.dispatcher.take(HERE)
        assert assignment is not None
        return assignment

    def take_over(self) -> Assignment:
        """Adopt what another holds, as when its lease has run out."""
        with self.store.transaction() as connection:
            connection.execute(batch.attempts.update().values(lease=1.0))
        attempts: list[Attempt] = self.store.take_over(self.dispatcher.settings.owner, 30.0)
        (assignment,) = self.dispatcher.adopt(attempts)
        return assignment

    def bring(self, assignment: Assignment, content: bytes, name: str = "a.png") -> Finished:
        """Fetch what an attempt made; nothing is said of it yet."""
        fetched = Fetched(
            content=content, sha256=sha256(content).hexdigest(), suffix=".png", look=None
        )
        part = CollectedPicture(
            job=assignment.jobs[0], number=0, fetched=fetched, node="2", name=name
        )
        artifact = self.collector.place(part, {}, "", assignment)
        return Finished(
            assignment=assignment,
            artifacts=[artifact],
            seconds=1.0,
            spans=[],
            keep=self.collector.keep,
        )

    def end(self, finished: Finished) -> None:
        """What the downloader does at the end."""
        try:
            self.dispatcher.done(finished)
        finally:
            self.collector.release(finished.assignment)

    def output(self) -> bytes:
        """The one file that the request made, as it is told."""
        view = self.requests.get(REQUEST)
        assert view is not None
        (output,) = view.outputs
        return self.storage.read(output.hash)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Store.open(tmp_path) as store:
        new = New(
            id=REQUEST, owner="", graph=graph(), model="", created_at=1.0, expires_at=9e9, nodes=2
        )
        Requests(store).add([new], lambda views: None)
    return tmp_path


@pytest.fixture
def processes(folder: Path) -> Iterator[tuple[Process, Process]]:
    one, two = Process(folder, "one"), Process(folder, "two")
    yield one, two
    one.store.close()
    two.store.close()


@pytest.mark.parametrize("loser_first", [True, False])
def test_a_late_loser_writes_no_file(processes: tuple[Process, Process], loser_first: bool) -> None:
    one, two = processes
    lost = one.take()
    won = two.take_over()
    assert won.attempt.id == lost.attempt.id
    late, right = one.bring(lost, b"the loser's"), two.bring(won, b"the winner's")
    for process, finished in (
        ((one, late), (two, right)) if loser_first else ((two, right), (one, late))
    ):
        process.end(finished)
    assert one.dispatcher.fate(lost) is Fate.LOST
    assert two.store.entry(REQUEST).state is State.DONE
    assert two.output() == b"the winner's"
    rows = two.store.rows(sa.select(tables.assets.c.id))
    assert len(rows) == 1
    assert len(two.store.rows(sa.select(tables.contents.c.hash))) == 1
    # and of the loser's bytes nothing is left, not even a part
    assert len(files_of(two.storage)) == 1


def test_what_cannot_get_its_name_ends_nothing(
    processes: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = processes
    assignment = one.take()
    finished = one.bring(assignment, b"a picture")

    def full(part: Any, name: str) -> None:
        raise OutputError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(one.storage._place, "adopt", full)
        with pytest.raises(OutputError):
            one.end(finished)
    assert one.store.entry(REQUEST).state is State.CLAIMED
    assert one.store.rows(sa.select(tables.assets.c.id)) == []
    one.end(one.bring(assignment, b"a picture"))
    assert one.output() == b"a picture"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("sprite_00001_.png", "sprite_00001_.png"),
        ("a\u202egnp.exe", "output_00000.exe"),
        ("line\nend.png", "output_00000.png"),
        ("x" * 300 + ".png", "output_00000.png"),
        ("x.p\u200bng", "output_00000"),
        ("C:x", "x"),
    ],
)
def test_servers_call_files_as_they_like(
    processes: tuple[Process, Process], name: str, shown: str
) -> None:
    one, _ = processes
    one.end(one.bring(one.take(), b"a picture", name))
    view = one.requests.get(REQUEST)
    assert view is not None
    assert [output.name for output in view.outputs] == [shown]


def test_what_died_before_is_cleared_at_the_start(tmp_path: Path) -> None:
    with FakeServer() as fake, serving(tmp_path, [fake.url]) as world:
        kept = world.ended(world.post(graph()).json()["id"])["outputs"][0]["hash"]
    long_ago = time.time() - ABANDONED - 60
    files = Storage(tmp_path / "files")
    lost = files.put(b"of an upload whose process died before its row was written")
    part = files._place.parts / "half"
    part.write_bytes(b"half an upload")
    for path in files_of(files):
        os.utime(path, (long_ago, long_ago))
    with FakeServer() as fake, serving(tmp_path, [fake.url]):
        until(lambda: files.has(lost.hash) or part.exists(), lambda left: not left)
        assert files.has(kept)
