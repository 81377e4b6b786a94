"""Pictures come home in groups, and what cannot be fetched goes back to who feeds the server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator.batch.assignments import Assignment
from orchestrator.batch.collecting import prepare_folder
from orchestrator.batch.dispatcher import Dispatcher, Finished
from orchestrator.batch.downloader import Downloader, Judgement, Load
from orchestrator.batch.fleet import Care, Server
from orchestrator.batch.gates import Picture
from orchestrator.batch.jobs import Job, State
from orchestrator.batch.retry import Rung
from orchestrator.batch.store.store import Store
from orchestrator.client.client import Client
from orchestrator.client.wire import Timeouts
from orchestrator.protocol import Graph
from orchestrator.testing import FakeServer, Fault


class Deaf:
    def happened(self, kind: str, **details: Any) -> None:
        """Take note of nothing."""


class Content:
    """A judge that is content with everything unseen."""

    def rungs(self, assignment: Assignment) -> Sequence[Rung]:
        return ()

    def needs_pixels(self, job: Job) -> bool:
        return False

    def judge(self, job: Job, picture: Picture) -> Judgement:
        raise AssertionError("nobody asked for pixels")


class Counting(Dispatcher):
    """Notes how many attempts were written down at once."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, Deaf())
        self.groups: list[int] = []

    def done(self, *finished: Finished) -> None:
        self.groups.append(len(finished))
        super().done(*finished)


def graph(color: int) -> Graph:
    size = {"width": 8, "height": 8, "batch_size": 1}
    return {
        "1": {"class_type": "EmptyImage", "inputs": {**size, "color": color}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }


class Work:
    """Jobs that a server has done, and whose pictures it still has."""

    def __init__(self, folder: Path, fake: FakeServer, count: int) -> None:
        self.folder, self.fake = folder, fake
        self.store = Store.open(folder)
        self.store.plan(
            Job(key=f"{n:064}", name=f"n{n}", item_id="i", parameters={}, seed=n)
            for n in range(count)
        )
        prepare_folder(folder)
        self.dispatcher = Counting(self.store)
        care = Care(timeouts=Timeouts(tries=1))
        self.server = Server(fake.url, care)
        self.downloader = Downloader(self.server, self.dispatcher, Content(), folder)
        self.assignments = [self._made(n) for n in range(count)]

    def _made(self, number: int) -> Assignment:
        # One at a time on the server, so that another one may always be taken.
        self.dispatcher.join(self.fake.url)
        assignment = self.dispatcher.take(self.fake.url)
        assert assignment is not None
        with Client(self.fake.url) as client:
            client.submit(graph(number), prompt_id=assignment.attempt.prompt_id)
            client.wait(assignment.attempt.prompt_id)
        return assignment

    def carry(self) -> None:
        """Hand all over at once; only the last one is urgent."""
        for assignment in self.assignments:
            urgent = assignment is self.assignments[-1]
            self.downloader.carry(
                Load(assignment=assignment, record=None, watch=None, seconds=1.0, urgent=urgent)
            )
        self.downloader.start()
        self.downloader.drain()
        self.downloader.finish()

    def pictures(self) -> set[str]:
        return {path.name for path in self.folder.glob("*.png")}


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


def test_what_waits_goes_home_together_in_one_transaction(tmp_path: Path, fake: FakeServer) -> None:
    work = Work(tmp_path, fake, 5)
    work.carry()
    assert work.dispatcher.groups == [5]
    assert work.pictures() == {f"n{n}.png" for n in range(5)}
    assert work.store.counts()[State.DONE] == 5


def test_a_fault_costs_no_other_of_the_group(tmp_path: Path, fake: FakeServer) -> None:
    work = Work(tmp_path, fake, 5)
    fake.files.pop(next(iter(fake.files)))
    work.carry()
    assert work.dispatcher.groups == [4]
    assert len(work.pictures()) == 4
    assert work.store.counts()[State.PENDING] == 1


def test_what_a_server_no_longer_answers_for_is_returned(tmp_path: Path, fake: FakeServer) -> None:
    work = Work(tmp_path, fake, 5)
    # The third one's picture, and with it those after it.
    fake.break_next("GET", "/history/" + work.assignments[2].attempt.prompt_id, Fault.ERROR_500)
    work.carry()
    assert work.dispatcher.groups == [2]
    returned = [work.downloader.returned.get_nowait() for _ in range(3)]
    assert returned == work.assignments[2:]


def test_a_success_that_the_history_does_not_know_is_returned(
    tmp_path: Path, fake: FakeServer
) -> None:
    work = Work(tmp_path, fake, 2)
    del fake.history[work.assignments[0].attempt.prompt_id]
    work.carry()
    assert work.dispatcher.groups == [1]
    assert work.downloader.returned.get_nowait() == work.assignments[0]


def test_a_picture_that_is_cut_off_is_no_picture(tmp_path: Path, fake: FakeServer) -> None:
    work = Work(tmp_path, fake, 1)
    (name,) = fake.files
    fake.files[name] = fake.files[name][:-7]
    work.carry()
    assert work.pictures() == set()
    assert [one.failure for one in work.store.attempts_of(f"{0:064}")] == ["result_missing"]
