"""Jobs on their way through servers, and what a run remembers of the runs before it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.batch.execution.dispatcher import Dispatcher, DispatchSettings, Fate, Finished
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.assignments import Assignment, Rejection
from orchestrator.batch.logic.jobs import Job, Outcome, State, Timing
from orchestrator.batch.logic.retry import LADDER, Degradation, FailureKind, Rung
from orchestrator.batch.reporting.status import retry
from orchestrator.errors import OutputError, ServerLost, StoreError
from orchestrator.protocol import ExecutionStart

HERE, THERE, ELSEWHERE = "http://a", "http://b", "http://c"


class Deaf:
    def happened(self, kind: str, **details: Any) -> None:
        """Take note of nothing."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Store.open(tmp_path) as store:
        store.plan(
            Job(key=f"{n:064}", name=f"n{n}", item_id="i", parameters={}, seed=n, group="g")
            for n in range(1, 5)
        )
    return tmp_path


def ladder(assignment: Assignment) -> Sequence[Rung]:
    return LADDER


def begun(store: Store, size: int = 1) -> Dispatcher:
    """A run that knows what the runs before it left."""
    settings = DispatchSettings(batch_size=size)
    dispatcher = Dispatcher(store, Deaf(), settings, can_batch=lambda job: True, clock=lambda: 1e9)
    dispatcher.recall(ladder)
    for server in (HERE, THERE):
        dispatcher.join(server)
    return dispatcher


def fail(folder: Path, kind: FailureKind, size: int = 1, server: str = HERE) -> Assignment:
    """One run in which the first graph fails, and which is killed then."""
    with Store.open(folder) as store:
        dispatcher = begun(store, size)
        assignment = dispatcher.take(server)
        assert assignment is not None
        dispatcher.failed(assignment, kind, "it broke", possible=LADDER)
        return assignment


def test_the_way_down_from_too_little_memory_goes_on_after_a_restart(folder: Path) -> None:
    seen = [fail(folder, FailureKind.OUT_OF_MEMORY, size=4) for _ in range(6)]
    assert [one.degradation for one in seen] == [
        Degradation(),
        Degradation(free=True),
        Degradation(free=True, most=2),
        Degradation(free=True, most=1),
        Degradation(free=True, most=1, vae_tiling=True),
        Degradation(free=True, most=1, vae_tiling=True, offload=True),
    ]
    assert [len(one.jobs) for one in seen] == [4, 4, 2, 1, 1, 1]


def test_a_job_that_failed_here_goes_elsewhere_after_a_restart(folder: Path) -> None:
    failed = fail(folder, FailureKind.NODE_FAILED)
    with Store.open(folder) as store:
        dispatcher = begun(store)
        here = dispatcher.take(HERE)
        assert here is not None
        assert here.jobs != failed.jobs
        there = dispatcher.take(THERE)
        assert there is not None
        assert there.jobs[0].key == failed.jobs[0].key


def test_what_a_person_wants_tried_again_is_tried_as_if_it_were_new(folder: Path) -> None:
    for _ in range(2):
        fail(folder, FailureKind.OUT_OF_MEMORY)
    retry(folder)
    assert fail(folder, FailureKind.OUT_OF_MEMORY).degradation == Degradation()


def test_failures_from_before_a_person_wanted_it_tried_again_count_for_nothing(
    folder: Path,
) -> None:
    with Store.open(folder) as store:
        store.plan([planned(1)])
    for server in (HERE, THERE):
        fail(folder, FailureKind.NODE_FAILED, server=server)
    with Store.open(folder) as store:
        assert store.counts()[State.FAILED] == 1
    retry(folder)
    # Once more it may go elsewhere.
    fail(folder, FailureKind.NODE_FAILED)
    with Store.open(folder) as store:
        assert store.counts()[State.PENDING] == 1


# --------------------------------------------------------------------------- one run


def planned(number: int, **changes: Any) -> Job:
    key = f"{number:064}"
    values = {"key": key, "name": f"n{number}", "item_id": "i", "parameters": {}, "seed": number}
    return Job(**{**values, "group": "g", **changes})


class Run:
    """A run over jobs that differ in their seeds, on a clock that stands where it is put."""

    def __init__(self, store: Store, *jobs: Job, size: int = 1, servers: int = 1) -> None:
        self.store = store
        self.now = 1000.0
        store.plan(jobs)
        self.dispatcher = Dispatcher(
            store,
            Deaf(),
            DispatchSettings(batch_size=size),
            can_batch=lambda job: True,
            clock=lambda: self.now,
        )
        for server in (HERE, THERE, ELSEWHERE)[:servers]:
            self.dispatcher.join(server)

    def take(self, server: str = HERE) -> Assignment:
        assignment = self.dispatcher.take(server)
        assert assignment is not None
        return assignment

    def names(self, server: str = HERE) -> list[str]:
        """The names of the jobs that the server gets now."""
        assignment = self.dispatcher.take(server)
        return [job.name for job in assignment.jobs] if assignment else []

    def finish(self, assignment: Assignment, *rejected: Job, seconds: float = 2.0) -> None:
        self.dispatcher.done(
            Finished(
                assignment=assignment,
                artifacts=[],
                rejections=[Rejection(key=job.key, reason="blank") for job in rejected],
                seconds=seconds,
                spans=[Timing(span="run", seconds=1.5), Timing(span="idle", seconds=0.25)],
            )
        )

    def states(self) -> dict[str, str]:
        return {entry.job.name: entry.state.value for entry in self.store.entries()}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


def test_a_server_holds_two_graphs_and_gets_the_next_when_one_has_ended(store: Store) -> None:
    run = Run(store, *map(planned, range(1, 6)))
    first, _ = run.take(), run.take()
    assert run.names() == []
    # Said twice, as after a break, it is one end.
    run.dispatcher.ended(first)
    run.dispatcher.ended(first)
    assert run.names() == ["n3"]
    assert run.names() == []
    # That its pictures are home makes no more room.
    run.finish(first)
    assert run.names() == []


def test_it_is_over_when_nothing_waits_and_nothing_is_out(store: Store) -> None:
    run = Run(store, planned(1))
    assert not run.dispatcher.is_over()
    assignment = run.take()
    assert not run.dispatcher.is_over()
    run.dispatcher.ended(assignment)
    assert not run.dispatcher.is_over()
    run.finish(assignment)
    assert run.dispatcher.is_over()


def test_a_job_that_a_person_asks_for_again_from_another_process_is_made(
    store: Store, tmp_path: Path
) -> None:
    run = Run(store, planned(1))
    run.finish(run.take())
    assert run.names() == []
    assert run.dispatcher.is_over()
    with Store.open(tmp_path, create=False) as other:
        other.move([planned(1).key], State.PENDING)
    assert not run.dispatcher.is_over()
    assert run.names() == ["n1"]


def test_a_job_that_a_person_cancels_from_another_process_holds_nobody_up(
    store: Store, tmp_path: Path
) -> None:
    run = Run(store, *map(planned, range(1, 4)))
    run.take()
    with Store.open(tmp_path, create=False) as other:
        other.move([planned(2).key], State.CANCELLED)
    assert run.names() == ["n3"]


def test_after_the_stop_nothing_is_handed_out_and_what_is_out_is_waited_for(store: Store) -> None:
    run = Run(store, planned(1), planned(2))
    assignment = run.take()
    first, second = ServerLost("first"), ServerLost("second")
    run.dispatcher.stop(first)
    run.dispatcher.stop(second)
    assert run.dispatcher.stop_error is first
    assert run.names() == []
    assert not run.dispatcher.is_over()
    run.finish(assignment)
    assert run.dispatcher.is_over()


def test_a_picture_that_cannot_be_written_stops_the_run(store: Store) -> None:
    run = Run(store, planned(1), planned(2))
    run.dispatcher.failed(run.take(), FailureKind.CANNOT_WRITE, "the disk is full")
    assert run.dispatcher.stopping
    assert isinstance(run.dispatcher.stop_error, OutputError)
    assert run.states() == {"n1": "pending", "n2": "pending"}


def test_a_job_that_failed_waits_out_its_pause_and_then_goes_first(store: Store) -> None:
    run = Run(store, *map(planned, range(1, 5)), servers=2)
    run.dispatcher.failed(run.take(), FailureKind.JOB_LOST, "it was lost")
    run.now += 0.4
    assert run.names() == ["n2"]
    run.now += 0.2
    assert run.names(THERE) == ["n1"]


def test_a_job_keeps_away_from_every_server_on_which_it_failed(store: Store) -> None:
    run = Run(store, planned(1), servers=3)
    for server in (HERE, THERE):
        run.dispatcher.failed(run.take(server), FailureKind.TIMED_OUT, "it was late")
        run.now += 60.0
    assert run.names(HERE) == run.names(THERE) == []
    assert run.names(ELSEWHERE) == ["n1"]


def test_what_was_never_sent_is_no_failure_of_the_server(store: Store) -> None:
    run = Run(store, planned(1), servers=2)
    run.dispatcher.failed(run.take(), FailureKind.NOT_SENT, "nobody answered")
    assert run.dispatcher.server_counts[HERE].failures == 0
    run.dispatcher.failed(run.take(THERE), FailureKind.JOB_LOST, "it was lost")
    assert run.dispatcher.server_counts[THERE].failures == 1
    outcomes = [one.outcome for one in store.attempts_of(planned(1).key)]
    assert outcomes == [Outcome.NEVER_SENT, Outcome.FAILED]


def test_what_is_given_back_waits_again_and_is_no_failure(store: Store) -> None:
    run = Run(store, planned(1))
    assignment = run.take()
    assert run.names() == []
    run.dispatcher.give_back(assignment, "the run was stopped")
    assert run.states() == {"n1": "pending"}
    assert run.names() == ["n1"]
    assert store.attempts_of(planned(1).key)[0].outcome is Outcome.CANCELLED


def test_attempts_of_an_earlier_run_take_up_room_on_their_server(store: Store) -> None:
    before = Run(store, *map(planned, range(1, 5)))
    before.take()
    run = Run(store, *map(planned, range(1, 5)))
    (adopted,) = run.dispatcher.adopt(store.open_attempts())
    assert [job.name for job in adopted.jobs] == ["n1"]
    assert run.names() == ["n2"]
    assert run.names() == []
    run.finish(adopted)
    assert run.names() == ["n3"]


def test_seeds_that_follow_on_go_together_but_not_with_jobs_made_easier(
    store: Store, tmp_path: Path
) -> None:
    run = Run(store, *map(planned, range(1, 7)), size=4)
    first = run.take()
    assert [job.name for job in first.jobs] == ["n1", "n2", "n3", "n4"]
    run.dispatcher.failed(first, FailureKind.OUT_OF_MEMORY, "no memory", possible=LADDER)
    with Store.open(tmp_path, create=False) as other:
        other.move([planned(1).key, planned(2).key], State.CANCELLED)
    # Two of them are gone.
    # Made easier, and so not with n5 and n6, for which there is room.
    assert run.names() == ["n3", "n4"]
    assert run.names() == ["n5", "n6"]


def test_a_job_that_is_rolled_again_has_another_seed_and_goes_alone(store: Store) -> None:
    jobs = [planned(number, rerolls=1) for number in (1, 2, 3)]
    run = Run(store, *jobs, size=2)
    assignment = run.take()
    run.finish(assignment, jobs[0])
    assert run.states() == {"n1": "pending", "n2": "done", "n3": "pending"}
    again = run.take()
    (rolled,) = again.jobs
    assert (rolled.name, rolled.roll) == ("n1", 1)
    assert again.attempt.shots[0].seed == rolled.seed_now != rolled.seed
    assert store.open_attempts()[0].shots[0].seed == rolled.seed_now
    # The second time it has no more rolls.
    run.finish(again, rolled)
    assert run.states()["n1"] == "failed"
    assert store.entry(rolled.key).reason == "blank"
    outcomes = [one.outcome for one in store.attempts_of(rolled.key)]
    assert outcomes == [Outcome.REJECTED, Outcome.REJECTED]


def test_a_server_is_counted_by_what_it_gave_and_by_its_own_clock(store: Store) -> None:
    jobs = [planned(number) for number in (1, 2, 3)]
    run = Run(store, *jobs, size=2)
    run.finish(run.take(), jobs[0])
    run.finish(run.take())
    counts = run.dispatcher.server_counts[HERE]
    assert (counts.pictures, counts.failures) == (2, 0)
    assert (counts.busy, counts.idle) == (3.0, 0.5)
    assert run.states() == {"n1": "failed", "n2": "done", "n3": "done"}


# --------------------------------------------------------------------------- wrong pictures


def wrong(dispatcher: Dispatcher, server: str) -> Assignment:
    """What comes from a server is another picture than was asked for."""
    assignment = dispatcher.take(server)
    assert assignment is not None
    dispatcher.failed(assignment, FailureKind.RESULT_WRONG, "it is another job's", possible=LADDER)
    return assignment


def test_a_server_that_sends_wrong_pictures_gets_no_more_jobs(folder: Path) -> None:
    with Store.open(folder) as store:
        store.plan(planned(n) for n in range(1, 20))
        dispatcher = begun(store)
        wrong(dispatcher, HERE)
        wrong(dispatcher, HERE)
        right = dispatcher.take(HERE)
        assert right is not None
        dispatcher.done(Finished(assignment=right, artifacts=[], seconds=1.0, spans=[]))
        for _ in range(3):
            assert dispatcher.distrust_of(HERE) == ""
            wrong(dispatcher, HERE)
        words = "its pictures were wrong 3 times in a row (it is another job's)"
        assert dispatcher.distrust_of(HERE) == words
        assert dispatcher.take(HERE) is None
        assert dispatcher.take(THERE) is not None


def test_the_only_open_server_goes_on_and_its_jobs_fail(folder: Path) -> None:
    with Store.open(folder) as store:
        dispatcher = begun(store)
        dispatcher.set_open(THERE, False, "away")
        tries = 0
        while store.counts()[State.PENDING]:
            # The clock stands still, and jobs wait a little before they are tried again.
            dispatcher = begun(store)
            dispatcher.set_open(THERE, False, "away")
            wrong(dispatcher, HERE)
            assert dispatcher.distrust_of(HERE) == ""
            tries += 1
        assert tries == 4 * 4
        assert store.counts()[State.FAILED] == 4


def test_the_same_server_does_a_job_again_only_without_its_cache(folder: Path) -> None:
    with Store.open(folder) as store:
        store.plan([planned(1)])
        assert not wrong(begun(store), HERE).degradation.free
        assert not wrong(begun(store), THERE).degradation.free
        dispatcher = begun(store)
        dispatcher.set_open(HERE, False, "away")
        # It sent another picture the last time; what it remembers would be sent again.
        assert wrong(dispatcher, THERE).degradation.free


# --------------------------------------------------------------------------- without end


class Heard:
    """Remembers where jobs stood, one after the other."""

    def __init__(self) -> None:
        self.states: list[tuple[str, str, str, str]] = []

    def happened(self, kind: str, **details: Any) -> None:
        if kind == "state":
            name = f"n{int(details['key'])}"
            self.states.append((name, details["state"], details["server"], details["reason"]))

    def of(self, name: str) -> list[str]:
        return [state for which, state, _, _ in self.states if which == name]


class Endless(Run):
    """A service: jobs come at any time, and servers come and go."""

    def __init__(self, store: Store, *servers: str, **values: Any) -> None:
        self.store = store
        self.now = 1000.0
        self.heard = Heard()
        self.dispatcher = Dispatcher(
            store, self.heard, DispatchSettings(endless=True), clock=lambda: self.now, **values
        )
        for server in servers or (HERE,):
            self.dispatcher.join(server)

    def post(self, *jobs: Job) -> None:
        self.store.add(jobs)
        self.dispatcher.arrived()


def test_an_endless_run_is_over_only_when_it_is_stopped(store: Store) -> None:
    run = Endless(store)
    assert run.names() == []
    assert not run.dispatcher.is_over()
    run.post(planned(1))
    assignment = run.take()
    run.finish(assignment)
    assert not run.dispatcher.is_over()
    run.post(planned(2))
    assignment = run.take()
    run.dispatcher.stop()
    assert not run.dispatcher.is_over()
    run.finish(assignment)
    assert run.dispatcher.is_over()


def test_who_waits_for_work_is_woken_when_some_arrives(store: Store) -> None:
    run = Endless(store)
    woken: list[float] = []

    def wait() -> None:
        began = time.monotonic()
        run.dispatcher.pause(60.0)
        woken.append(time.monotonic() - began)

    thread = threading.Thread(target=wait)
    thread.start()
    while thread.is_alive():
        run.dispatcher.arrived()
        thread.join(0.01)
    assert woken[0] < 30.0


def test_jobs_of_other_processes_are_found_without_being_told(store: Store) -> None:
    run = Endless(store)
    assert run.names() == []
    store.add([planned(1)])
    run.now += 1.0
    assert run.names() == ["n1"]


def test_an_owner_whose_last_job_another_process_took_is_looked_for_no_further(
    store: Store,
) -> None:
    run = Endless(store, fits=lambda job, server: False)
    run.post(planned(1))
    assert run.names() == []
    assert Endless(store).names() == ["n1"]
    run.dispatcher.arrived()
    run.now += 10.0
    assert run.names() == []


def test_the_more_owners_wait_the_more_seldom_all_of_them_are_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Endless(store)
    run.post(*(replace(planned(n), owner=f"o{n % 40}") for n in range(400)))
    assert run.names()
    reads: list[str | None] = []
    pending = Store.pending

    def counted(self: Store, limit: int, **values: Any) -> list[Job]:
        reads.append(values["owner"])
        return pending(self, limit, **values)

    monkeypatch.setattr(Store, "pending", counted)
    for _ in range(3):
        run.now += 1.0
        run.names()
    assert len(reads) < 40
    run.now += 1.0
    run.names()
    assert len(set(reads)) == 40


def test_something_more_urgent_goes_before_what_waits_already(store: Store) -> None:
    run = Endless(store)
    run.post(*map(planned, range(1, 500)))
    assert run.names() == ["n1"]
    run.post(planned(500, priority=3))
    run.now += 1.0
    assert run.names() == ["n500"]


def test_observers_are_told_of_every_change_of_state(store: Store) -> None:
    run = Endless(store, HERE, THERE)
    run.post(planned(1), planned(2, rerolls=1), planned(3))
    first = run.take()
    run.dispatcher.submitted(first)
    run.dispatcher.submitted(first)
    event = ExecutionStart(prompt_id=first.attempt.prompt_id)
    run.dispatcher.heard(first, event, begins=True)
    run.finish(first)
    second, third = run.take(THERE), run.take()
    run.finish(second, *second.jobs)
    run.dispatcher.failed(third, FailureKind.NODE_FAILED, "it broke")
    assert run.heard.of("n1") == ["claimed", "submitted", "running", "done"]
    assert run.heard.of("n2") == ["claimed", "pending"]
    assert run.heard.of("n3") == ["claimed", "pending"]
    reasons = {name: reason for name, state, _, reason in run.heard.states if state == "pending"}
    assert reasons["n2"] == "blank"
    assert "it broke" in reasons["n3"]
    assert {server for name, _, server, _ in run.heard.states if name == "n2"} == {THERE}


def test_a_waiting_job_is_cancelled_at_once(store: Store) -> None:
    run = Endless(store)
    run.post(planned(1), planned(2), planned(3))
    assert run.names() == ["n1"]
    assert run.dispatcher.cancel(planned(2).key) is State.CANCELLED
    assert run.dispatcher.cancel(planned(2).key) is State.CANCELLED
    assert run.heard.of("n2") == ["cancelled"]
    assert run.names() == ["n3"]
    with pytest.raises(StoreError):
        run.dispatcher.cancel("unknown")


def test_a_running_job_is_called_off_and_cancelled_whatever_comes_of_it(store: Store) -> None:
    run = Endless(store)
    run.post(planned(1), planned(2))
    first, second = run.take(), run.take()
    assert run.dispatcher.cancel(planned(1).key) is State.CLAIMED
    assert run.dispatcher.fate(first) is Fate.CALLED_OFF
    assert run.dispatcher.fate(second) is Fate.GO_ON
    run.dispatcher.failed(first, FailureKind.NODE_FAILED, "it broke")
    assert run.heard.of("n1") == ["claimed", "cancelled"]
    assert run.states()["n1"] == "cancelled"
    assert run.names() == []
    # One that was done before anybody looked, too.
    run.dispatcher.cancel(planned(2).key)
    run.finish(second)
    assert run.heard.of("n2") == ["claimed", "cancelled"]
    assert run.dispatcher.cancel(planned(2).key) is State.CANCELLED


def test_a_graph_of_several_jobs_goes_on_as_long_as_one_is_wanted(store: Store) -> None:
    run = Run(store, planned(1), planned(2), size=2)
    both = run.take()
    run.dispatcher.cancel(planned(1).key)
    assert run.dispatcher.fate(both) is Fate.GO_ON
    run.finish(both)
    assert run.states() == {"n1": "cancelled", "n2": "done"}


def test_a_job_goes_to_servers_that_fit_also_to_one_that_comes_later(store: Store) -> None:
    able = {THERE}
    run = Endless(store, HERE, fits=lambda job, server: job.seed != 1 or server in able)
    run.post(planned(1), planned(2))
    assert run.names() == ["n2"]
    assert run.names() == []
    run.dispatcher.join(THERE)
    assert run.names(THERE) == ["n1"]
    run.post(planned(1, key="9" * 64, name="n9"))
    run.dispatcher.leave(THERE)
    assert run.names() == []
    able.add(HERE)
    run.dispatcher.sort_anew()
    assert run.names() == ["n9"]


def test_a_server_looks_past_all_that_it_cannot_run(store: Store) -> None:
    run = Endless(store, HERE, THERE, fits=lambda job, server: (server == HERE) == (job.seed < 900))
    run.post(*map(planned, range(1, 1000)))
    assert run.names(THERE) == ["n900"]
    assert run.names(HERE) == ["n1"]


def test_a_server_that_was_given_up_starts_afresh_when_it_joins_again(folder: Path) -> None:
    with Store.open(folder) as store:
        dispatcher = begun(store)
        for _ in range(dispatcher.settings.limits.wrong_in_a_row):
            wrong(dispatcher, HERE)
        assert dispatcher.distrust_of(HERE)
        dispatcher.leave(HERE)
        assert dispatcher.take(HERE) is None
        dispatcher.join(HERE)
        assert dispatcher.distrust_of(HERE) == ""
        assert dispatcher.server_counts[HERE].failures > 0


def test_a_long_life_leaves_nothing_behind(store: Store) -> None:
    run = Endless(store)
    for number in range(1, 40):
        run.post(planned(number, owner=f"key-{number % 3}"))
        assignment = run.take()
        if number % 2:
            run.dispatcher.failed(assignment, FailureKind.NODE_FAILED, "it broke")
            run.now += 100.0
            assignment = run.take()
        run.finish(assignment)
    dispatcher = run.dispatcher
    assert dispatcher._notes == {}
    assert dispatcher._open == {}
    assert dispatcher._called_off == set()
    assert dispatcher._queue.window == {}
