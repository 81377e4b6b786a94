"""Pictures come home in groups, and what cannot be fetched goes back to who feeds the server."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.batch.execution import downloader as carrying
from orchestrator.batch.execution.collecting import IntoFolder, prepare_folder
from orchestrator.batch.execution.dispatcher import Dispatcher, Finished
from orchestrator.batch.execution.downloader import Downloader, Judge, Judgement, Load
from orchestrator.batch.execution.fleet import Care, FleetServer
from orchestrator.batch.execution.store import tables
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.assignments import Assignment
from orchestrator.batch.logic.gates import JudgedPicture
from orchestrator.batch.logic.jobs import Job, State
from orchestrator.batch.logic.retry import Rung
from orchestrator.client.client import Client
from orchestrator.client.wire import Timeouts
from orchestrator.errors import OutputError
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

    def judge(self, job: Job, picture: JudgedPicture) -> Judgement:
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


class Critic(Content):
    """A judge that looks at every picture, waits at a gate, and rejects some."""

    def __init__(self, *rejected: str) -> None:
        self.rejected = rejected
        self.looking = threading.Event()
        self.go = threading.Event()

    def needs_pixels(self, job: Job) -> bool:
        return True

    def judge(self, job: Job, picture: JudgedPicture) -> Judgement:
        self.looking.set()
        assert self.go.wait(30)
        return Judgement(reason="blank" if job.name in self.rejected else "", measured={"x": 1.0})


class Counted(FleetServer):
    """Counts how often it is connected to."""

    connections = 0

    def connected(self) -> Client:
        self.connections += 1
        return super().connected()


class Work:
    """Jobs that a server has done, and whose pictures it still has."""

    def __init__(
        self, folder: Path, fake: FakeServer, count: int, judge: Judge | None = None
    ) -> None:
        self.folder, self.fake = folder, fake
        self.store = Store.open(folder)
        self.store.plan(
            Job(key=f"{n:064}", name=f"n{n}", item_id="i", parameters={}, seed=n)
            for n in range(count)
        )
        prepare_folder(folder)
        self.dispatcher = Counting(self.store)
        care = Care(timeouts=Timeouts(tries=1))
        self.server = Counted(fake.url, care)
        self.downloader = Downloader(
            self.server, self.dispatcher, judge or Content(), IntoFolder(folder)
        )
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

    def load(self, number: int, *, urgent: bool = True, paused: bool = False) -> Load:
        return Load(
            assignment=self.assignments[number],
            record=None,
            watch=None,
            seconds=1.0,
            urgent=urgent,
            paused=paused,
        )

    def carry(self) -> None:
        """Hand all over at once; only the last one is urgent."""
        last = len(self.assignments) - 1
        for number in range(last + 1):
            self.downloader.carry(self.load(number, urgent=number == last))
        self.downloader.start()
        self.downloader.drain()
        self.downloader.finish()

    def spans(self) -> list[set[str]]:
        """The names of the spans that were measured of each attempt."""
        table = tables.timings
        found: dict[int, set[str]] = {one.attempt.id: set() for one in self.assignments}
        for row in self.store.rows(sa.select(table.c.attempt_id, table.c.span)):
            found[row.attempt_id].add(row.span)
        return list(found.values())

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
    returned = [work.downloader.returned.get_nowait().assignment for _ in range(3)]
    assert returned == work.assignments[2:]


def test_a_success_that_the_history_does_not_know_is_returned(
    tmp_path: Path, fake: FakeServer
) -> None:
    work = Work(tmp_path, fake, 2)
    del fake.history[work.assignments[0].attempt.prompt_id]
    work.carry()
    assert work.dispatcher.groups == [1]
    assert work.downloader.returned.get_nowait().assignment == work.assignments[0]


def test_a_picture_that_is_cut_off_is_no_picture(tmp_path: Path, fake: FakeServer) -> None:
    work = Work(tmp_path, fake, 1)
    (name,) = fake.files
    fake.files[name] = fake.files[name][:-7]
    work.carry()
    assert work.pictures() == set()
    assert [one.failure for one in work.store.attempts_of(f"{0:064}")] == ["result_wrong"]


@pytest.fixture
def no_lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small groups, and a wait for more that no test would outlast."""
    monkeypatch.setattr(carrying, "_TOGETHER", 2)
    monkeypatch.setattr(carrying, "_BACKLOG", 3)
    monkeypatch.setattr(carrying, "_LINGER", 1e6)


@pytest.mark.usefixtures("no_lingering")
def test_what_is_urgent_goes_at_once_with_all_before_it_in_groups(
    tmp_path: Path, fake: FakeServer
) -> None:
    work = Work(tmp_path, fake, 3)
    work.carry()
    assert work.dispatcher.groups == [2, 1]


@pytest.mark.usefixtures("no_lingering")
def test_a_full_group_waits_for_nothing(tmp_path: Path, fake: FakeServer) -> None:
    work = Work(tmp_path, fake, 2, critic := Critic())
    work.downloader.start()
    for number in range(2):
        work.downloader.carry(work.load(number, urgent=False))
    assert critic.looking.wait(30)
    critic.go.set()
    work.downloader.finish()
    assert work.dispatcher.groups == [2]


@pytest.mark.usefixtures("no_lingering")
def test_whoever_hands_over_more_than_can_wait_waits(tmp_path: Path, fake: FakeServer) -> None:
    work = Work(tmp_path, fake, 5, critic := Critic())
    work.downloader.start()
    work.downloader.carry(work.load(0))
    assert critic.looking.wait(30)
    for number in (1, 2, 3):
        work.downloader.carry(work.load(number))
    handed_over = threading.Event()

    def carry_one_more() -> None:
        work.downloader.carry(work.load(4))
        handed_over.set()

    feeder = threading.Thread(target=carry_one_more)
    feeder.start()
    assert not handed_over.wait(0.2)
    critic.go.set()
    feeder.join(30)
    assert handed_over.is_set()
    work.downloader.finish()
    assert len(work.pictures()) == 5


def test_a_server_is_drained_only_when_what_is_under_way_is_home(
    tmp_path: Path, fake: FakeServer
) -> None:
    work = Work(tmp_path, fake, 1, critic := Critic())
    work.downloader.start()
    work.downloader.carry(work.load(0))
    assert critic.looking.wait(30)
    drained = threading.Event()

    def drain() -> None:
        work.downloader.drain()
        drained.set()

    waiting = threading.Thread(target=drain)
    waiting.start()
    assert not drained.wait(0.2)
    critic.go.set()
    waiting.join(30)
    assert drained.is_set()
    assert work.pictures() == {"n0.png"}
    work.downloader.finish()


def test_a_server_that_was_started_anew_is_connected_to_anew(
    tmp_path: Path, fake: FakeServer
) -> None:
    work = Work(tmp_path, fake, 3)
    work.downloader.start()
    work.downloader.carry(work.load(0))
    work.downloader.drain()
    work.downloader.carry(work.load(1))
    work.downloader.carry(work.load(2))
    work.downloader.finish()
    assert work.server.connections == 2
    assert len(work.pictures()) == 3


def test_a_picture_that_the_judge_rejects_is_not_put_into_the_folder(
    tmp_path: Path, fake: FakeServer
) -> None:
    work = Work(tmp_path, fake, 2, critic := Critic("n1"))
    critic.go.set()
    work.carry()
    assert work.pictures() == {"n0.png"}
    assert work.store.entry(f"{1:064}").reason == "blank"
    assert work.store.artifacts(f"{0:064}")[0].measured == {"x": 1.0}


def test_a_job_that_failed_after_all_is_a_failure(tmp_path: Path, fake: FakeServer) -> None:
    work = Work(tmp_path, fake, 2)
    record = fake.history[work.assignments[0].attempt.prompt_id]
    record["status"] |= {"status_str": "error", "completed": False}
    work.carry()
    assert work.pictures() == {"n1.png"}
    assert [one.failure for one in work.store.attempts_of(f"{0:064}")] == ["node_failed"]


def test_a_picture_that_cannot_be_written_stops_the_run_and_stays_on_its_server(
    tmp_path: Path, fake: FakeServer
) -> None:
    work = Work(tmp_path, fake, 2)
    (tmp_path / "n0.png").mkdir()
    work.carry()
    assert isinstance(work.dispatcher.stop_error, OutputError)
    # The next run looks for it there; the other one is home.
    open_jobs = [shot.key for one in work.store.open_attempts() for shot in one.shots]
    assert open_jobs == [f"{0:064}"]
    assert (tmp_path / "n1.png").is_file()
    assert list((tmp_path / ".parts").iterdir()) == []


def test_what_is_measured_of_each_attempt(tmp_path: Path, fake: FakeServer) -> None:
    work = Work(tmp_path, fake, 3)
    work.downloader.start()
    for number in range(3):
        work.downloader.carry(work.load(number, paused=number < 2))
    work.downloader.finish()
    always = {"run", "transfer", "store"}
    # After a pause nobody waited for us.
    assert work.spans() == [always, always, always | {"idle"}]


def test_pictures_are_on_the_disk_before_they_get_their_names(
    tmp_path: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(tmp_path, fake, 1)
    done: list[str] = []
    sync, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (done.append("synced"), sync(file))[1])
    monkeypatch.setattr(
        os, "replace", lambda old, new: (done.append(Path(new).name), rename(old, new))[1]
    )
    work.carry()
    assert done[done.index("synced") :][:2] == ["synced", "n0.png"]
