"""Who holds what: renewal beside the work, attempts that are lost, jobs that are cancelled."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.batch.execution import leases
from orchestrator.batch.execution.dispatcher import Dispatcher, DispatchSettings, Fate, Finished
from orchestrator.batch.execution.leases import Renewal, new_owner
from orchestrator.batch.execution.store import tables
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.assignments import Assignment
from orchestrator.batch.logic.jobs import Artifact, Job, Outcome, State, Timing
from orchestrator.batch.logic.retry import FailureKind
from orchestrator.errors import StoreError

# s, for which what must come is waited for
LONG = 60.0
HERE, THERE = "http://a", "http://b"


class Told:
    """Remembers what happened; `wait` lets a test go on at a named moment."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._changed = threading.Condition()

    def happened(self, kind: str, **details: Any) -> None:
        with self._changed:
            self.events.append((kind, details))
            self._changed.notify_all()

    def notes(self) -> list[str]:
        return [details["text"] for kind, details in list(self.events) if kind == "note"]

    def wait(self, so: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(so, LONG), self.events


class Owner:
    """One orchestrator of several on one record."""

    def __init__(self, folder: Path, name: str, server: str, lease: float = 30.0) -> None:
        self.store = Store.open(folder)
        self.told = Told()
        settings = DispatchSettings(owner=name, lease=lease, endless=True)
        self.dispatcher = Dispatcher(self.store, self.told, settings)
        self.dispatcher.join(server)
        self.server = server

    def take(self) -> Assignment:
        assignment = self.dispatcher.take(self.server)
        assert assignment is not None
        return assignment

    def finish(
        self, *assignments: Assignment, keep: Callable[[Artifact], None] = lambda one: None
    ) -> None:
        self.dispatcher.done(
            *(
                Finished(
                    assignment=one,
                    artifacts=[artifact(one.jobs[0], one.attempt.id)],
                    seconds=1.0,
                    spans=[Timing(span="run", seconds=1.0)],
                    keep=keep,
                )
                for one in assignments
            )
        )


def artifact(job: Job, attempt_id: int) -> Artifact:
    return Artifact(
        key=job.key,
        path=f"{job.name}.png",
        sha256="0" * 64,
        pixels_sha256="",
        bytes=1,
        mtime_ns=1,
        width=1,
        height=1,
        seed=job.seed,
        attempt_id=attempt_id,
    )


def planned(number: int) -> Job:
    key = f"{number:064}"
    return Job(key=key, name=f"n{number}", item_id="i", parameters={}, seed=number)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Store.open(tmp_path) as store:
        store.plan(map(planned, range(6)))
    return tmp_path


@pytest.fixture
def one(folder: Path) -> Iterator[Owner]:
    owner = Owner(folder, "one", HERE)
    yield owner
    owner.store.close()


@pytest.fixture
def two(folder: Path) -> Iterator[Owner]:
    owner = Owner(folder, "two", THERE)
    yield owner
    owner.store.close()


def let_run_out(store: Store) -> None:
    with store.transaction() as connection:
        connection.execute(tables.attempts.update().values(lease=1.0))


def test_two_orchestrators_never_have_the_same_job(one: Owner, two: Owner) -> None:
    keys = [owner.take().jobs[0].key for owner in (one, two, one, two)]
    assert len(set(keys)) == 4
    # Both looked at all six before; neither waits for what the other has.
    one.dispatcher.leave(HERE)
    one.dispatcher.join(HERE)
    keys += [one.take().jobs[0].key, one.take().jobs[0].key]
    assert len(set(keys)) == 6


def test_a_late_loser_writes_nothing_and_the_winner_decides(one: Owner, two: Owner) -> None:
    lost, kept = one.take(), one.take()
    let_run_out(one.store)
    one.store.renew("one", 30.0)
    with one.store.transaction() as connection:
        which = tables.attempts.c.id == lost.attempt.id
        connection.execute(tables.attempts.update().where(which).values(lease=1.0))
    (attempt,) = two.store.take_over("two", 30.0)
    assert attempt.prompt_id == lost.attempt.prompt_id
    assert two.store.take_over("two", 30.0) == []
    assert one.store.taken_over() == 1
    assert one.dispatcher.fate(lost) is Fate.GO_ON
    # Two end together; the other one is none the worse.
    one.finish(lost, kept)
    assert one.dispatcher.fate(lost) is Fate.LOST
    assert one.store.entry(lost.jobs[0].key).state is State.CLAIMED
    assert one.store.artifacts(lost.jobs[0].key) == []
    query = sa.select(tables.timings.c.attempt_id)
    assert [row.attempt_id for row in one.store.rows(query)] == [kept.attempt.id]
    assert one.store.entry(kept.jobs[0].key).state is State.DONE
    assert [note for note in one.told.notes() if "taken over" in note]
    (assignment,) = two.dispatcher.adopt([attempt])
    two.dispatcher.give_back(assignment, "its server is not ours")
    assert two.store.entry(lost.jobs[0].key).state is State.PENDING


@pytest.mark.parametrize("way", ["failed", "given back", "submitted"])
def test_whoever_lost_an_attempt_decides_nothing_about_it(one: Owner, two: Owner, way: str) -> None:
    lost = one.take()
    let_run_out(one.store)
    two.store.take_over("two", 30.0)
    match way:
        case "failed":
            assert one.dispatcher.failed(lost, FailureKind.NODE_FAILED, "it broke") is None
        case "given back":
            one.dispatcher.give_back(lost, "stopped")
        case "submitted":
            one.dispatcher.submitted(lost)
    assert one.dispatcher.fate(lost) is Fate.LOST
    assert one.store.entry(lost.jobs[0].key).state is State.CLAIMED
    assert [found.outcome for found in one.store.attempts_of(lost.jobs[0].key)] == [None]
    assert one.dispatcher.server_counts[HERE].failures == 0


def test_a_renewal_tells_what_was_lost_and_what_was_cancelled(one: Owner, two: Owner) -> None:
    lost, cancelled, kept = one.take(), one.take(), None
    one.dispatcher.ended(lost)
    kept = one.take()
    let_run_out(one.store)
    with two.store.transaction() as connection:
        which = tables.attempts.c.id != lost.attempt.id
        connection.execute(tables.attempts.update().where(which).values(lease=1e12))
    two.store.take_over("two", 30.0)
    two.store.cancel([cancelled.jobs[0].key])
    fates = [one.dispatcher.fate(each) for each in (lost, cancelled, kept)]
    assert fates == [Fate.GO_ON] * 3
    one.dispatcher.renew()
    fates = [one.dispatcher.fate(each) for each in (lost, cancelled, kept)]
    assert fates == [Fate.LOST, Fate.CALLED_OFF, Fate.GO_ON]


def test_an_attempt_that_ends_while_it_is_renewed_is_not_lost(one: Owner) -> None:
    assignment = one.take()
    renew = one.store.renew

    def slow(*arguments: Any) -> Any:
        one.finish(assignment)
        return renew(*arguments)

    one.store.renew = slow  # type: ignore[method-assign]
    one.dispatcher.renew()
    assert one.store.entry(assignment.jobs[0].key).state is State.DONE
    assert not [note for note in one.told.notes() if "taken over" in note]


def test_a_thread_renews_and_heeds_what_is_cancelled_elsewhere(folder: Path, two: Owner) -> None:
    one = Owner(folder, "one", HERE, lease=3.0)
    assignment = one.take()
    renew, renewed = one.store.renew, threading.Semaphore(0)

    def counted(*arguments: Any) -> Any:
        try:
            return renew(*arguments)
        finally:
            renewed.release()

    one.store.renew = counted  # type: ignore[method-assign]
    with Renewal(one.dispatcher):
        # Longer than a lease, which is renewed three times in its time, nobody can take it over.
        for _ in range(5):
            late = time.monotonic() + LONG
            while not renewed.acquire(timeout=0.1):
                assert time.monotonic() < late
                assert two.store.take_over("two", 30.0) == []
        two.store.cancel([assignment.jobs[0].key])
        for _ in range(300):
            if one.dispatcher.fate(assignment) is Fate.CALLED_OFF:
                break
            threading.Event().wait(0.1)
        assert one.dispatcher.fate(assignment) is Fate.CALLED_OFF
    one.store.close()


class Clock:
    """A clock that goes on only while somebody waits; the event that ends it comes at `end`, s.

    While it is waited for the first time, the process stands still for `frozen` s.
    """

    def __init__(self, end: float, frozen: float = 0.0) -> None:
        self.now, self._end, self._frozen = 0.0, end, frozen

    def monotonic(self) -> float:
        return self.now

    def is_set(self) -> bool:
        return self.now >= self._end

    def wait(self, seconds: float) -> bool:
        self.now += seconds + self._frozen
        self._frozen = 0.0
        return self.is_set()


@pytest.mark.parametrize("lease", [0.3, 1.5, 30.0, 300.0])
def test_a_lease_is_renewed_well_before_it_runs_out(
    lease: float, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Owner(folder, "one", HERE, lease=lease)
    clock, renewed, looked, looked_over = Clock(end=3 * lease), [0.0], [0.0], [0.0]
    renew, look = one.store.renew, one.store.called_off

    def noted_renewal(*arguments: Any) -> Any:
        renewed.append(clock.now)
        return renew(*arguments)

    def noted_look(owner: str) -> Any:
        looked.append(clock.now)
        return look(owner)

    one.store.renew = noted_renewal  # type: ignore[method-assign]
    one.store.called_off = noted_look  # type: ignore[method-assign]
    monkeypatch.setattr(leases, "time", clock)
    monkeypatch.setattr(leases, "moments", lambda: (clock.now, clock.now))
    renewal = Renewal(one.dispatcher, lambda: looked_over.append(clock.now))
    monkeypatch.setattr(renewal, "_ending", clock)
    renewal.run()
    # Three times in a lease, each late by one look at most.
    assert lease / 4 < longest(renewed) < lease / 2
    # What was cancelled is seen soon, however long a lease is.
    assert longest(sorted([*renewed, *looked])) <= 0.5 + 1e-9
    # What others let run out is looked for every second, or more often.
    assert longest([*looked_over, clock.now]) <= 1.5 + 1e-9
    one.store.close()


@pytest.mark.parametrize(("frozen", "expected"), [(0.0, []), (20.0, [20.5])])
def test_others_get_time_after_this_process_stood_still_and_only_then(
    frozen: float, expected: list[float], one: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(end=60.0, frozen=frozen)
    disturbed: list[float] = []
    monkeypatch.setattr(leases, "time", clock)
    monkeypatch.setattr(leases, "moments", lambda: (clock.now, clock.now))
    monkeypatch.setattr(one.dispatcher.outages, "disturbed", lambda: disturbed.append(clock.now))
    renewal = Renewal(one.dispatcher)
    monkeypatch.setattr(renewal, "_ending", clock)
    renewal.run()
    assert disturbed == expected


def longest(moments: list[float]) -> float:
    """The longest time between two of them, in s."""
    return max(after - before for before, after in itertools.pairwise(moments))


def test_a_store_that_is_away_is_waited_for(folder: Path) -> None:
    one = Owner(folder, "one", HERE, lease=0.3)
    assignment = one.take()
    renew, away = one.store.renew, threading.Event()
    away.set()

    def broken(*arguments: Any) -> Any:
        if away.is_set():
            raise StoreError("the server closed the connection")
        return renew(*arguments)

    one.store.renew = broken  # type: ignore[method-assign]
    with Renewal(one.dispatcher):
        one.told.wait(lambda: any("cannot be reached" in note for note in one.told.notes()))
        assert not one.dispatcher.stopping
        away.clear()
        one.told.wait(lambda: any("reached again" in note for note in one.told.notes()))
    assert sum("cannot be" in note for note in one.told.notes()) == 1
    assert one.dispatcher.fate(assignment) is Fate.GO_ON
    one.store.close()


def test_after_a_long_sleep_it_is_asked_whether_an_attempt_is_still_ones_own(
    folder: Path, two: Owner
) -> None:
    one = Owner(folder, "one", HERE, lease=0.0)
    mine, others = one.take(), one.take()
    one.store.renew("one", 30.0)
    with two.store.transaction() as connection:
        which = tables.attempts.c.id == others.attempt.id
        connection.execute(tables.attempts.update().where(which).values(lease=1.0))
    two.store.take_over("two", 30.0)
    assert one.dispatcher.holds(mine)
    assert not one.dispatcher.holds(others)
    one.store.close()


def test_owners_have_names_of_their_own() -> None:
    names = {new_owner() for _ in range(100)}
    assert len(names) == 100
    assert all(len(name) <= 64 for name in names)


def test_what_was_closed_by_another_stays_closed_by_it(one: Owner, two: Owner) -> None:
    assignment = one.take()
    (attempt,) = two.store.take_over("two", 30.0, all=True)
    two.store.close_attempt(attempt.id, Outcome.FAILED, owner="two", error="the winner's")
    one.finish(assignment)
    (found,) = one.store.attempts_of(assignment.jobs[0].key)
    assert (found.owner, found.error) == ("two", "the winner's")
