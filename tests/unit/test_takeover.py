"""What one orchestrator let go, another one takes over: looked for on its server, or made again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.batch.execution.collecting import IntoFolder, prepare_folder
from orchestrator.batch.execution.fleet import Care, FleetServer
from orchestrator.batch.execution.leases import Renewal, succeed
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.execution.takeover import Takeover
from orchestrator.batch.logic.jobs import Outcome, State
from orchestrator.client.client import Client
from orchestrator.local.process import free_port
from orchestrator.testing import FakeServer
from test_leases import LONG, Owner, artifact, let_run_out, planned
from test_worker import TIMEOUTS, Recipe

OURS = "http://ours"


class Pair:
    """One who dies, with a job, and one who is at work with a server of its own."""

    def __init__(self, folder: Path, server: str) -> None:
        prepare_folder(folder)
        with Store.open(folder) as store:
            store.plan(map(planned, range(1)))
        self.folder, self.server = folder, server
        self.dead = Owner(folder, "dead", server)
        self.assignment = self.dead.take()
        self.key = self.assignment.jobs[0].key
        self.alive = Owner(folder, "alive", OURS, lease=0.0)
        self.takeover = Takeover(
            self.alive.dispatcher,
            [],
            lambda name: Recipe(),
            IntoFolder(folder),
            care=Care(timeouts=TIMEOUTS),
        )
        let_run_out(self.dead.store)

    def send(self) -> None:
        """What the dead one had done before it died."""
        with Client(self.server, timeouts=TIMEOUTS) as client:
            graph = Recipe().graph(self.assignment, client)
            client.submit(graph, prompt_id=self.assignment.attempt.prompt_id)

    def look(self) -> None:
        self.takeover.look()
        for worker in self.takeover.adopting:
            worker.join(LONG)
            assert not worker.is_alive()

    def outcomes(self) -> list[Outcome | None]:
        return [one.outcome for one in self.alive.store.attempts_of(self.key)]

    def state(self) -> State:
        return self.alive.store.entry(self.key).state

    def close(self) -> None:
        self.dead.store.close()
        self.alive.store.close()


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def pair(tmp_path: Path, fake: FakeServer) -> Iterator[Pair]:
    found = Pair(tmp_path, fake.url)
    yield found
    found.close()


def test_what_its_server_still_has_is_brought_home(pair: Pair, fake: FakeServer) -> None:
    pair.send()
    pair.look()
    assert pair.state() is State.DONE
    assert pair.outcomes() == [Outcome.DONE]
    assert (pair.folder / "n0.png").is_file()
    assert len(fake.submissions) == 1
    # The server is not one of ours, and gets nothing from us.
    assert pair.alive.dispatcher.take(fake.url) is None


def test_what_its_server_does_not_have_waits_again_at_once(pair: Pair) -> None:
    pair.look()
    assert pair.state() is State.PENDING
    assert pair.outcomes() == [Outcome.NEVER_SENT]
    assert pair.alive.take().jobs[0].key == pair.key


def test_what_was_on_a_server_that_nobody_reaches_waits_again(tmp_path: Path) -> None:
    pair = Pair(tmp_path, f"http://127.0.0.1:{free_port()}")
    pair.look()
    assert pair.state() is State.PENDING
    assert [one.failure for one in pair.alive.store.attempts_of(pair.key)] == ["job_lost"]
    pair.close()


def test_what_a_process_of_its_own_had_waits_again(tmp_path: Path) -> None:
    pair = Pair(tmp_path, "engine-1")
    pair.look()
    assert pair.state() is State.PENDING
    assert [one.failure for one in pair.alive.store.attempts_of(pair.key)] == ["job_lost"]
    # Its name is no address at which to ask.
    assert not [note for note in pair.alive.told.notes() if "visited" in note]
    pair.close()


def test_nothing_is_taken_over_before_the_record_has_been_there_for_a_while(pair: Pair) -> None:
    settings = replace(pair.alive.dispatcher.settings, lease=1e6)
    pair.alive.dispatcher.settings = settings
    pair.alive.dispatcher.outages.disturbed()
    pair.look()
    assert pair.outcomes() == [None]


def test_a_server_that_lets_an_adopting_worker_wait_is_no_reason_to_wait_for_the_run(
    pair: Pair, fake: FakeServer
) -> None:
    fake.pace = LONG
    pair.send()
    pair.takeover.look()
    (worker,) = pair.takeover.adopting
    # The run is over only when that has an end.
    assert not pair.alive.dispatcher.is_over()
    pair.takeover.end()
    worker.join(LONG)
    assert not worker.is_alive()
    # It was taken back, or stays open for whoever comes next.
    assert pair.outcomes() in ([None], [Outcome.CANCELLED])


def test_an_orchestrator_that_is_at_work_is_waited_for(pair: Pair) -> None:
    settings = replace(pair.alive.dispatcher.settings, endless=False)
    pair.alive.dispatcher.settings = settings
    pair.dead.store.renew("dead", 30.0)
    assert not pair.alive.dispatcher.is_over()
    pair.dead.finish(pair.assignment)
    assert pair.alive.dispatcher.is_over()


def test_one_that_froze_before_its_picture_got_its_name_leaves_the_other_ones(
    tmp_path: Path, fake: FakeServer
) -> None:
    """What is in its hands counts for nothing, though it was asked a moment before."""
    pair = Pair(tmp_path, fake.url)
    pair.dead.dispatcher.settings = replace(pair.dead.dispatcher.settings, lease=1e6)
    assert pair.dead.dispatcher.holds(pair.assignment)
    pair.send()
    pair.look()
    before = (tmp_path / "n0.png").stat()
    late = IntoFolder(tmp_path)
    part = tmp_path / ".parts" / "late"
    part.write_bytes(b"another picture")
    made = artifact(pair.assignment.jobs[0], pair.assignment.attempt.id)
    late._held[made.attempt_id] = {made.path: str(part)}
    pair.dead.finish(pair.assignment, keep=late.keep)
    late.release(pair.assignment)
    after = (tmp_path / "n0.png").stat()
    assert (after.st_mtime_ns, after.st_size) == (before.st_mtime_ns, before.st_size)
    assert not part.exists()
    pair.close()


def test_a_thread_takes_over_what_runs_out_while_it_renews(pair: Pair, fake: FakeServer) -> None:
    pair.send()
    pair.alive.dispatcher.settings = replace(pair.alive.dispatcher.settings, lease=0.3)
    with Renewal(pair.alive.dispatcher, pair.takeover.look):
        pair.alive.told.wait(lambda: any(kind == "done" for kind, _ in pair.alive.told.events))
    assert pair.state() is State.DONE


def test_who_held_the_folder_before_is_known(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        assert succeed(store, "first") is None
        assert succeed(store, "second") == "first"


def test_of_the_dead_everything_is_taken_and_of_others_what_ran_out(pair: Pair) -> None:
    with Store.open(pair.folder) as store:
        store.plan(map(planned, range(3)))
    busy = Owner(pair.folder, "busy", "http://busy")
    held = busy.take()
    pair.dead.store.renew("dead", 30.0)
    assert pair.alive.dispatcher.take_over() == []
    (found,) = pair.alive.dispatcher.take_over(dead=["dead"])
    assert found.attempt.prompt_id == pair.assignment.attempt.prompt_id
    (found,) = pair.alive.dispatcher.take_over(all=True)
    assert found.attempt.prompt_id == held.attempt.prompt_id
    busy.store.close()


def test_a_server_of_the_fleet_gets_nothing_more_while_it_has_what_was_taken_over(
    tmp_path: Path, fake: FakeServer
) -> None:
    pair = Pair(tmp_path, fake.url)
    fake.pace = LONG
    pair.send()
    with Store.open(tmp_path) as store:
        store.plan(map(planned, range(4)))
    pair.alive.dispatcher.join(fake.url)
    pair.takeover._fleet[fake.url] = FleetServer(fake.url, Care(timeouts=TIMEOUTS))
    pair.takeover.look()
    # One runs there, one waits behind it, and no third one.
    assert pair.alive.dispatcher.take(fake.url) is not None
    assert pair.alive.dispatcher.take(fake.url) is None
    pair.takeover.end()
    pair.close()
