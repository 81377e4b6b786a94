"""The record of a batch, on real SQLite files: plans, moves, attempts, and sudden death."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from orchestrator.batch.execution.store import statements, tables
from orchestrator.batch.execution.store.database import Database, sqlite_url
from orchestrator.batch.execution.store.folder_lock import held, is_held
from orchestrator.batch.execution.store.store import PlanDiff, Store, settled
from orchestrator.batch.execution.store.verification import verify
from orchestrator.batch.logic.jobs import (
    MOST_MADE,
    Artifact,
    Attempt,
    Gate,
    Job,
    Outcome,
    Shot,
    State,
    Timing,
)
from orchestrator.errors import (
    BadValue,
    BatchBusy,
    IllegalTransition,
    LeaseLost,
    OutputError,
    StoreError,
)

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def job(name: str, salt: str = "", **changes: object) -> Job:
    values = {
        "key": hashlib.sha256(f"{name}{salt}".encode()).hexdigest(),
        "name": name,
        "item_id": "item",
        "parameters": {"prompt": "ä potion", "steps": 20, "cfg": 7.5},
        "seed": 2**64 - 1,
        "group": "0123456789abcdef",
        "model": "starter",
    }
    return Job(**{**values, **changes})  # type: ignore[arg-type]


def jobs(*names: str) -> list[Job]:
    return [job(name) for name in names]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


def attempt(*chosen: Job, prompt_id: str = "p1", server: str = "http://a") -> Attempt:
    shots = (Shot(key=one.key, seed=one.seed_now, index=place) for place, one in enumerate(chosen))
    return Attempt(prompt_id=prompt_id, server=server, shots=tuple(shots), degraded={"free": True})


def picture(of: Job, folder: Path, data: bytes = b"png", pixels: str | None = None) -> Artifact:
    """A file as the runner leaves it, and what it notes of it."""
    path = folder / f"{of.name}.png"
    path.write_bytes(data)
    return Artifact(
        key=of.key,
        path=path.name,
        sha256=hashlib.sha256(data).hexdigest(),
        pixels_sha256=of.key if pixels is None else pixels,
        bytes=len(data),
        mtime_ns=path.stat().st_mtime_ns,
        width=64,
        height=48,
        seed=of.seed_now,
        measured={"opaque": 0.5},
    )


def finish(store: Store, folder: Path, of: Job, **changes: str) -> None:
    number = store.claim(attempt(of, prompt_id=uuid.uuid4().hex))
    with store.transaction():
        store.record_artifact(picture(of, folder, **changes))  # type: ignore[arg-type]
        store.close_attempt(number, Outcome.DONE, seconds=2.0)
        store.move([of.key], State.DONE)


def names(found: list[Job]) -> list[str]:
    return [one.name for one in found]


# --------------------------------------------------------------------------- plans


def test_a_job_comes_back_as_it_was_planned(store: Store) -> None:
    planned = job("a/b", gates=(Gate(name="opaque", minimum=0.1),), rerolls=3, priority=-2)
    store.plan([planned])
    assert store.pending(5) == [planned]


def test_pending_by_priority_then_in_the_order_of_the_manifest(store: Store) -> None:
    store.plan([job("a"), job("b", priority=5), job("c"), job("d", priority=5)])
    assert names(store.pending(9)) == ["b", "d", "a", "c"]
    assert names(store.pending(2, exclude=[job("b").key])) == ["d", "a"]


def test_planning_again_keeps_what_is_done(store: Store, tmp_path: Path) -> None:
    store.plan(jobs("a", "b", "c"))
    finish(store, tmp_path, job("a"))
    diff = store.plan([*jobs("c", "a"), job("b", "other"), job("d")])
    assert diff == PlanDiff(total=4, added=1, kept=2, changed=1, unwanted=0)
    assert names(store.pending(9)) == ["c", "b", "d"]
    counts = store.counts()
    assert (counts[State.DONE], counts[State.UNWANTED]) == (1, 1)


def test_what_comes_back_takes_up_its_picture_again(store: Store, tmp_path: Path) -> None:
    store.plan(jobs("a", "b"))
    finish(store, tmp_path, job("a"))
    assert store.plan([]) == PlanDiff(total=0, added=0, kept=0, changed=0, unwanted=2)
    assert (tmp_path / "a.png").exists()
    assert store.plan(jobs("a", "b")) == PlanDiff(total=2, added=0, kept=2, changed=0, unwanted=0)
    assert store.entry(job("a").key).state is State.DONE
    assert names(store.pending(9)) == ["b"]


def test_a_picture_whose_place_was_taken_is_made_again_when_it_comes_back(
    store: Store, tmp_path: Path
) -> None:
    store.plan([job("a")])
    finish(store, tmp_path, job("a"))
    store.plan([job("a", "new")])
    finish(store, tmp_path, job("a", "new"), data=b"newer")  # type: ignore[arg-type]
    store.plan([job("a")])
    assert store.entry(job("a").key).state is State.PENDING


def test_a_plan_that_breaks_off_changes_nothing(store: Store) -> None:
    store.plan(jobs("a", "b"))

    def broken() -> Iterator[Job]:
        yield from (job(f"x{n}") for n in range(5000))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.plan(broken())
    assert names(store.pending(9)) == ["a", "b"]
    assert store.plan(jobs("a", "b")).kept == 2


@settings(max_examples=25)
@given(plans=st.lists(st.sets(st.sampled_from("abcdef")), min_size=1, max_size=5))
def test_after_any_plans_just_the_last_one_is_wanted(
    plans: list[set[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Store.open(tmp_path_factory.mktemp("plans")) as store:
        before: set[str] = set()
        for plan in plans:
            diff = store.plan(jobs(*sorted(plan)))
            assert diff.total == len(plan) == diff.added + diff.kept
            assert diff.unwanted == len(before - plan)
            before = plan
        assert set(names(store.pending(99))) == plans[-1]
        gone = {entry.job.name for entry in store.entries(State.UNWANTED)}
        assert gone == set().union(*plans) - plans[-1]


# --------------------------------------------------------------------------- moves


def test_moves_follow_the_table_and_all_or_none_happens(store: Store) -> None:
    first, second = jobs("a", "b")
    store.plan([first, second])
    store.move([second.key], State.CANCELLED, "a person said so")
    with pytest.raises(IllegalTransition, match="job b is cancelled, and cannot become claimed"):
        store.move([first.key, second.key], State.CLAIMED)
    assert store.entry(first.key).state is State.PENDING
    assert store.entry(second.key).reason == "a person said so"
    with pytest.raises(StoreError, match="has no job"):
        store.move(["nobody"], State.CLAIMED)
    with pytest.raises(IllegalTransition, match="twice"):
        store.move([first.key, first.key], State.CLAIMED)


def test_moving_all_of_some_states(store: Store) -> None:
    store.plan(jobs("a", "b", "c"))
    store.move([job("a").key], State.FAILED, "why")
    assert store.move_all([State.PENDING], State.CANCELLED) == 2
    assert store.move_all([State.FAILED, State.CANCELLED], State.PENDING) == 3
    assert all(entry.reason == "" for entry in store.entries())
    with pytest.raises(IllegalTransition):
        store.move_all([State.DONE], State.CLAIMED)


def test_entries_come_in_pages_and_in_order(store: Store) -> None:
    planned = [job(f"j{number}") for number in range(4321)]
    store.plan(planned)
    assert [entry.job.name for entry in store.entries()] == [one.name for one in planned]


def test_jobs_of_two_plans_that_share_a_place_are_all_found(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for plan in "abc":
        store.plan(job(f"{plan}{number}") for number in range(5))
    # Pages that end between jobs of one place.
    for size in (1, 2, 4):
        monkeypatch.setattr("orchestrator.batch.execution.store.entries.CHUNK", size)
        found = [entry.job.name for entry in store.entries()]
        assert sorted(found) == sorted(f"{plan}{number}" for plan in "abc" for number in range(5))


@pytest.mark.parametrize(
    ("state", "is_settled"),
    [
        (State.PENDING, False),
        (State.CLAIMED, False),
        (State.SUBMITTED, False),
        (State.DONE, True),
        (State.FAILED, True),
        (State.QUARANTINED, True),
        (State.CANCELLED, True),
        (State.UNWANTED, True),
    ],
)
def test_a_batch_is_settled_when_nothing_waits_or_runs(state: State, is_settled: bool) -> None:
    assert settled({**dict.fromkeys(State, 0), state: 1}) is is_settled


# --------------------------------------------------------------------------- attempts


def test_an_attempt_is_there_before_it_is_sent_and_open_until_it_ends(store: Store) -> None:
    first, second = jobs("a", "b")
    store.plan([first, second])
    number = store.claim(attempt(first, second), now=1000.0)
    assert {entry.state for entry in store.entries()} == {State.CLAIMED}
    (found,) = store.open_attempts()
    assert (found.id, found.prompt_id, found.started_at) == (number, "p1", 1000.0)
    assert [shot.key for shot in found.shots] == [first.key, second.key]
    assert found.shots[0].seed == 2**64 - 1
    assert found.degraded == {"free": True}
    store.mark_submitted(number)
    store.close_attempt(number, Outcome.FAILED, seconds=1.5, failure="frozen", error="it froze")
    assert store.open_attempts() == []
    (past,) = store.attempts_of(second.key)
    assert (past.outcome, past.failure, past.error) == (Outcome.FAILED, "frozen", "it froze")


def test_a_job_that_is_not_free_is_claimed_by_nobody_else(store: Store) -> None:
    store.plan(jobs("a"))
    store.claim(attempt(job("a")))
    with pytest.raises(IllegalTransition):
        store.claim(attempt(job("a"), prompt_id="p2"))
    assert len(store.open_attempts()) == 1


# --------------------------------------------------------------------------- leases


def run_out(store: Store) -> None:
    """Let all leases run out."""
    with store.transaction() as connection:
        connection.execute(tables.attempts.update().values(lease=1.0))


def test_only_its_owner_closes_an_attempt_and_only_once(store: Store) -> None:
    store.plan(jobs("a"))
    number = store.claim(attempt(job("a")), owner="me", seconds=30.0)
    for stranger in ("you", ""):
        with pytest.raises(LeaseLost):
            store.close_attempt(number, Outcome.DONE, owner=stranger)
        with pytest.raises(LeaseLost):
            store.mark_submitted(number, owner=stranger)
    assert [one.owner for one in store.open_attempts()] == ["me"]
    assert store.entry(job("a").key).state is State.CLAIMED
    store.mark_submitted(number, owner="me")
    store.mark_submitted(number, owner="me")
    store.close_attempt(number, Outcome.FAILED, owner="me", error="first")
    with pytest.raises(LeaseLost):
        store.close_attempt(number, Outcome.DONE, owner="me")
    with pytest.raises(LeaseLost):
        store.mark_submitted(number, owner="me")
    assert [one.error for one in store.attempts_of(job("a").key)] == ["first"]


def test_whoever_lost_an_attempt_writes_nothing_of_it(store: Store, tmp_path: Path) -> None:
    store.plan(jobs("a", "b"))
    number = store.claim(attempt(job("a")), owner="frozen", seconds=30.0)
    run_out(store)
    assert [one.id for one in store.take_over("quick", 30.0)] == [number]

    def end() -> None:
        with store.transaction():
            store.log("written before it was known")
            store.close_attempt(number, Outcome.DONE, owner="frozen", seconds=1.0)
            store.settle([job("a").key], State.DONE)
            store.record_artifact(picture(job("a"), tmp_path))
            store.record_timings(number, [Timing(span="run", seconds=1.0)])

    with pytest.raises(LeaseLost):
        end()
    assert store.entry(job("a").key).state is State.CLAIMED
    assert store.events() == []
    assert store.artifacts(job("a").key) == []
    assert store.rows(sa.select(tables.timings)) == []
    store.close_attempt(number, Outcome.FAILED, owner="quick")
    assert store.settle([job("a").key], State.PENDING) == set()


def test_a_lease_that_ran_out_and_that_nobody_wanted_is_still_ones_own(store: Store) -> None:
    store.plan(jobs("a"))
    number = store.claim(attempt(job("a")), owner="slow", seconds=30.0)
    run_out(store)
    store.close_attempt(number, Outcome.DONE, owner="slow")


def test_only_what_has_run_out_is_taken_over_unless_nobody_else_lives(store: Store) -> None:
    store.plan(jobs("a", "b", "c", "d"))
    held = store.claim(attempt(job("a"), prompt_id="1"), owner="one", seconds=30.0)
    gone = store.claim(attempt(job("b"), prompt_id="2"), owner="one", seconds=-0.5)
    nobodys = store.claim(attempt(job("c"), prompt_id="3"))
    mine = store.claim(attempt(job("d"), prompt_id="4"), owner="two", seconds=30.0)
    assert [one.id for one in store.take_over("two", 30.0)] == [gone, nobodys]
    assert store.take_over("three", 30.0) == []
    taken = store.take_over("four", 30.0, all=True)
    assert [one.id for one in taken] == [held, gone, nobodys, mine]
    assert {one.owner for one in store.open_attempts()} == {"four"}


def test_a_lease_is_put_off_by_the_databases_clock(store: Store) -> None:
    store.plan(jobs("a", "b"))
    one = store.claim(attempt(job("a"), prompt_id="1"), owner="me", seconds=0.0)
    two = store.claim(attempt(job("b"), prompt_id="2"), owner="me", seconds=0.0)
    assert store.renew("me", 60.0, [one, two]).lost == frozenset()
    assert store.take_over("you", 60.0) == []
    now = time.time()
    leases = [row.lease - now for row in store.rows(sa.select(tables.attempts.c.lease))]
    assert leases == [pytest.approx(60.0, abs=5.0)] * 2
    store.close_attempt(one, Outcome.DONE, owner="me")
    assert store.take_over("you", 60.0, all=True)
    # What it has closed itself it does not hold either.
    assert store.renew("me", 60.0, [one, two]).lost == {one, two}


@pytest.mark.parametrize("to", [State.PENDING, State.DONE, State.FAILED, State.QUARANTINED])
def test_a_running_job_that_is_cancelled_is_so_whatever_comes_of_it(
    store: Store, to: State
) -> None:
    store.plan(jobs("a", "b"))
    both = job("a"), job("b")
    number = store.claim(attempt(*both), owner="me", seconds=30.0)
    assert store.called_off("me") == frozenset()
    assert store.cancel([job("a").key]) == {job("a").key: State.CLAIMED}
    assert store.called_off("me") == {job("a").key}
    assert store.called_off("you") == frozenset()
    assert store.renew("me", 30.0).cancelled == {job("a").key}
    store.close_attempt(number, Outcome.DONE, owner="me")
    assert store.settle([one.key for one in both], to, "so") == {job("a").key}
    first, second = store.entries()
    assert (first.state, first.reason) == (State.CANCELLED, statements.CANCELLED)
    assert (second.state, second.reason) == (to, "so")
    # And the wish is gone with it.
    store.move([job("a").key], State.PENDING)
    number = store.claim(attempt(job("a"), prompt_id="2"))
    store.close_attempt(number, Outcome.DONE)
    assert store.settle([job("a").key], State.DONE) == set()


def test_a_waiting_job_is_cancelled_at_once_and_one_that_has_ended_stays(
    store: Store, tmp_path: Path
) -> None:
    store.plan(jobs("a", "b", "c"))
    finish(store, tmp_path, job("a"))
    keys = [job("a").key, job("b").key, "unknown"]
    states = {job("a").key: State.DONE, job("b").key: State.CANCELLED}
    assert store.cancel(keys, "no more") == states
    assert store.entry(job("b").key).reason == "no more"
    assert store.cancel(keys) == states
    with pytest.raises(IllegalTransition):
        store.claim(attempt(job("b")))
    assert names(store.pending(9)) == ["c"]


# --------------------------------------------------------------------------- owners


def test_new_jobs_go_behind_the_others_and_keys_are_new(store: Store) -> None:
    store.plan(jobs("a", "b"))
    (added,) = store.add([job("c", owner="ann", priority=1)])
    assert (added.order, store.entry(added.key).job) == (2, added)
    assert [one.order for one in store.add(jobs("d", "e"))] == [3, 4]
    with pytest.raises(StoreError):
        store.add(jobs("f", "a"))
    assert names(store.pending(9)) == ["a", "c", "b", "d", "e"]
    assert store.add([]) == []


def test_owners_take_turns_and_priority_counts_within_an_owner(store: Store) -> None:
    store.add([job(f"a{n}", owner="ann") for n in range(300)])
    store.add([job(f"b{n}", owner="bob", priority=n) for n in range(3)])
    store.add([job("c0", owner="cid")])
    first = ["a0", "b2", "c0", "a1", "b1", "a2", "b0", "a3", "a4"]
    assert names(store.pending(9)) == first
    assert names(store.pending(9, per_owner=2)) == first[:5]
    held = [job("a0").key, job("b2").key]
    assert names(store.pending(3, exclude=held)) == ["c0", "a1", "b1"]
    assert names(store.pending(2, owner="bob")) == ["b2", "b1"]
    assert store.pending(2, owner="dan") == []
    assert store.owners_waiting() == ["ann", "bob", "cid"]
    # Nobody is left out for there being many.
    store.add([job(f"x{n}", owner=f"x{n:03}") for n in range(120)])
    assert len({one.owner for one in store.pending(123, per_owner=8)}) == 123


# --------------------------------------------------------------------------- pictures


def test_artifacts_come_back_as_noted(store: Store, tmp_path: Path) -> None:
    store.plan(jobs("a"))
    finish(store, tmp_path, job("a"))
    (found,) = store.artifacts(job("a").key)
    assert found.seed == 2**64 - 1
    assert found.measured == {"opaque": 0.5}
    assert store.artifacts() == [found]


def test_a_job_whose_picture_another_one_replaced_is_made_again(
    store: Store, tmp_path: Path
) -> None:
    first = job("a")
    store.plan([first])
    finish(store, tmp_path, first)
    # a new `output` gives its name to another job
    renamed, heir = replace(first, name="b"), job("a", "heir")
    assert store.plan([renamed, heir]).kept == 1
    finish(store, tmp_path, heir, data=b"newer")  # type: ignore[arg-type]
    assert names(store.pending(9)) == ["b"]
    finish(store, tmp_path, renamed)
    assert sorted(one.path for one in store.artifacts()) == ["a.png", "b.png"]


def test_a_job_that_failed_is_not_made_again_because_another_takes_its_place(
    store: Store, tmp_path: Path
) -> None:
    first = job("a")
    store.plan([first])
    finish(store, tmp_path, first)
    store.move([first.key], State.FAILED, "a gate said no")
    heir = job("a", "heir")
    store.plan([replace(first, name="b"), heir])
    finish(store, tmp_path, heir, data=b"newer")  # type: ignore[arg-type]
    assert store.entry(first.key).state is State.FAILED


def test_a_job_whose_pictures_are_partly_missing_and_partly_damaged_is_put_back_once(
    store: Store, tmp_path: Path
) -> None:
    one = job("a")
    store.plan([one])
    finish(store, tmp_path, one)
    (tmp_path / "a-2.png").write_bytes(b"png")
    store.record_artifact(replace(picture(one, tmp_path), path="a-2.png"))
    (tmp_path / "a.png").unlink()
    (tmp_path / "a-2.png").write_bytes(b"cut")
    os.utime(tmp_path / "a-2.png", ns=(1, 1))
    found = verify(store, tmp_path)
    assert (found.missing, found.damaged) == (("a.png",), ("a-2.png",))
    assert names(store.pending(9)) == ["a"]


@pytest.mark.parametrize("data", [b"", b"pn", b"pngs"])
def test_a_picture_of_another_length_is_damaged_whatever_its_time(
    store: Store, tmp_path: Path, data: bytes
) -> None:
    store.plan(jobs("a"))
    finish(store, tmp_path, job("a"))
    before = (tmp_path / "a.png").stat().st_mtime_ns
    (tmp_path / "a.png").write_bytes(data)
    os.utime(tmp_path / "a.png", ns=(before, before))
    assert verify(store, tmp_path).damaged == ("a.png",)


def test_verify_puts_back_what_is_missing_or_damaged(store: Store, tmp_path: Path) -> None:
    store.plan(jobs("fine", "gone", "cut", "changed", "touched"))
    for one in store.pending(9):
        finish(store, tmp_path, one)
    (tmp_path / "gone.png").unlink()
    (tmp_path / "cut.png").write_bytes(b"pn")
    (tmp_path / "changed.png").write_bytes(b"PNG")
    os.utime(tmp_path / "changed.png", ns=(1, 1))
    os.utime(tmp_path / "touched.png", ns=(1, 1))
    found = verify(store, tmp_path)
    assert found.checked == 5
    assert found.missing == ("gone.png",)
    assert set(found.damaged) == {"cut.png", "changed.png"}
    assert set(names(store.pending(9))) == {"gone", "cut", "changed"}
    assert found.sentences()[0] == "1 of 5 pictures is missing and made again: gone.png"
    assert verify(store, tmp_path).sentences() == []


def test_a_thorough_look_sees_what_size_and_time_hide(store: Store, tmp_path: Path) -> None:
    store.plan(jobs("a"))
    finish(store, tmp_path, job("a"))
    before = (tmp_path / "a.png").stat().st_mtime_ns
    (tmp_path / "a.png").write_bytes(b"PNG")
    os.utime(tmp_path / "a.png", ns=(before, before))
    assert verify(store, tmp_path).damaged == ()
    assert verify(store, tmp_path, thorough=True).damaged == ("a.png",)


def test_pictures_that_look_alike_come_in_the_manifests_order_whichever_came_first(
    store: Store, tmp_path: Path
) -> None:
    store.plan(jobs("a", "b", "c", "d", "e"))
    for name, pixels in (("c", "same"), ("d", "other"), ("a", "same"), ("b", "same")):
        finish(store, tmp_path, job(name), pixels=pixels)
    assert store.alike() == [(job(name).key, "same") for name in "abc"]
    # One that is not done is nobody's twin.
    store.move([job("b").key, job("c").key], State.FAILED)
    assert store.alike() == []


def test_a_picture_that_is_lost_every_time_is_not_made_for_ever(
    store: Store, tmp_path: Path
) -> None:
    store.plan(jobs("a", "b"))
    finish(store, tmp_path, job("b"))
    for _ in range(MOST_MADE):
        assert store.entry(job("a").key).state is State.PENDING
        finish(store, tmp_path, job("a"))
        (tmp_path / "a.png").unlink()
        verify(store, tmp_path)
    assert store.counts()[State.DONE] == 1
    entry = store.entry(job("a").key)
    assert entry.state is State.FAILED
    assert entry.reason.startswith("its picture is missing, and it was made 8 times; see what else")
    (said,) = store.events()
    assert said.warning
    assert said.text == f"given up: a: {entry.reason}"
    # A person may have put it right.
    store.move([job("a").key], State.PENDING)
    store.retry_from_here()
    finish(store, tmp_path, job("a"))
    store.remake([job("a").key], "its picture is missing")
    assert names(store.pending(9)) == ["a"]


def test_two_jobs_do_not_displace_each_other_for_ever(store: Store, tmp_path: Path) -> None:
    store.plan(jobs("a", "b"))
    moves = 0
    while moves < 100 and (waiting := store.pending(1)):
        moves += 1
        number = store.claim(attempt(waiting[0], prompt_id=uuid.uuid4().hex))
        with store.transaction():
            store.record_artifact(replace(picture(waiting[0], tmp_path), path="same.png"))
            store.close_attempt(number, Outcome.DONE)
            store.move([waiting[0].key], State.DONE)
    assert moves == 2 * MOST_MADE
    assert {entry.state for entry in store.entries()} == {State.DONE, State.FAILED}


def test_pictures_of_earlier_attempts_of_a_job_are_of_the_past(
    store: Store, tmp_path: Path
) -> None:
    store.plan(jobs("a", "b"))
    for of in jobs("a", "b"):
        finish(store, tmp_path, of)
    store.move([job("a").key], State.PENDING)
    number = store.claim(attempt(job("a"), prompt_id="again"))
    with store.transaction():
        for name in ("a.jpg", "a=2.jpg"):
            again = replace(picture(job("a"), tmp_path), path=name, attempt_id=number)
            store.record_artifact(again)
        store.move([job("a").key], State.DONE)
    assert {one.path for one in store.artifacts()} == {"a.jpg", "a=2.jpg", "b.png"}


def test_two_equal_pictures_of_one_job_are_no_twins(store: Store, tmp_path: Path) -> None:
    store.plan(jobs("a", "b"))
    for name in "ab":
        first = picture(job(name), tmp_path, pixels=name)
        finish(store, tmp_path, job(name), pixels=name)
        store.record_artifact(replace(first, path=f"{name}-2.png"))
    assert store.alike() == []


def test_pictures_that_nobody_looked_at_are_nobodys_duplicates(
    store: Store, tmp_path: Path
) -> None:
    store.plan([job("a"), job("b"), replace(job("c"), gates=(Gate(name="duplicate", maximum=0),))])
    for name in ("a", "b", "c"):
        finish(store, tmp_path, job(name), pixels="")
    assert store.alike() == []
    assert {one.key for one in store.unhashed()} == {job(name).key for name in ("a", "b", "c")}
    assert store.compares_pictures()
    store.plan(jobs("a", "b"))
    assert not store.compares_pictures()


def test_pictures_whose_gates_have_changed_are_known(store: Store, tmp_path: Path) -> None:
    store.plan(jobs("a", "b"))
    for one in store.pending(9):
        finish(store, tmp_path, one)
    assert store.unjudged() == []
    store.plan([job("a", gates=(Gate(name="blank"),)), job("b")])
    assert store.unjudged() == [job("a").key]
    store.record_artifact(picture(job("a"), tmp_path))
    assert store.unjudged() == []
    # One that failed has nothing to be judged.
    store.plan([job("a", gates=(Gate(name="opaque"),)), job("b", gates=(Gate(name="opaque"),))])
    store.move([job("a").key], State.FAILED)
    assert store.unjudged() == [job("b").key]


# --------------------------------------------------------------------------- opening


def test_a_folder_without_a_batch(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no batch in"):
        Store.open(tmp_path, create=False)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "batch.sqlite").write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match=r"batch\.sqlite") as caught:
        Store.open(tmp_path)
    assert caught.value.__cause__ is not None


def test_a_record_of_another_version(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.set_fact("version", "99")
    with pytest.raises(StoreError, match="another version"):
        Store.open(tmp_path)


@pytest.mark.parametrize("url", ["nosql://x", "://", "postgresql+nodriver://a/b"])
def test_urls_that_are_none(tmp_path: Path, url: str) -> None:
    with pytest.raises(BadValue, match="cannot be opened"):
        Store.open(tmp_path, url=url)


def test_a_folder_remembers_its_database_and_a_database_its_folder(tmp_path: Path) -> None:
    one, two, plain = (tmp_path / name for name in ("one", "two", "plain"))
    for folder in (one, two, plain):
        folder.mkdir()
    url = f"sqlite:///{(tmp_path / 'elsewhere.sqlite').as_posix()}"
    with Store.open(one, url=url) as store:
        store.plan(jobs("a"))
    with Store.open(one, create=False) as store:
        assert names(store.pending(5)) == ["a"]
    assert not (one / "batch.sqlite").exists()
    with pytest.raises(StoreError, match="another batch"):
        Store.open(two, url=url)
    with pytest.raises(StoreError, match="no batch"):
        Store.open(two, create=False)
    with pytest.raises(BadValue, match="in another database"):
        Store.open(one, url="postgresql://somewhere/else")
    Store.open(plain).close()
    with pytest.raises(BadValue, match="leave out --store"):
        Store.open(plain, url=url)


def test_a_full_disk_is_said_so(store: Store, tmp_path: Path) -> None:
    with store.transaction() as connection:
        pages = connection.exec_driver_sql("pragma page_count").scalar_one()
        connection.exec_driver_sql(f"pragma max_page_count = {pages}")
    with pytest.raises(OutputError, match="full"):
        store.plan(job(f"j{number}") for number in range(3000))
    assert store.pending(1) == []


def test_a_read_only_folder_is_said_so(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    uri = f"sqlite:///file:{(tmp_path / 'batch.sqlite').as_posix()}?mode=ro&uri=true"
    with pytest.raises(OutputError, match="readonly"):
        Store(Database(uri)).plan(jobs("a"))


def test_every_statement_is_postgresql_too() -> None:
    dialect = postgresql.dialect()
    for table in tables.metadata.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=dialect))
    for name, statement in vars(statements).items():
        found = list(statement.values()) if name == "MOVES" else [statement]
        for one in found:
            if isinstance(one, sa.Executable):
                assert str(one.compile(dialect=dialect))


# ----------------------------------------------------------------- at once, and sudden death


def test_threads_share_a_store(store: Store) -> None:
    store.plan([job(f"j{number}") for number in range(60)])
    waiting = store.pending(60)
    failures: list[BaseException] = []

    def work(part: list[Job]) -> None:
        try:
            for one in part:
                number = store.claim(attempt(one, prompt_id=one.key[:36]))
                with store.transaction():
                    store.close_attempt(number, Outcome.DONE, seconds=1)
                    store.move([one.key], State.DONE)
        except BaseException as error:  # noqa: BLE001  (shown by the test)
            failures.append(error)

    threads = [threading.Thread(target=work, args=(waiting[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.counts()[State.DONE] == 60


def test_another_process_reads_while_this_one_is_in_a_transaction(
    store: Store, tmp_path: Path
) -> None:
    store.plan(jobs("a"))
    with store.transaction(), Store.open(tmp_path, create=False) as other:
        store.move([job("a").key], State.FAILED)
        assert other.counts()[State.PENDING] == 1


def test_whoever_reads_before_it_writes_is_overtaken_by_nobody(
    store: Store, tmp_path: Path
) -> None:
    """Without the write lock from the start, its write would fail after another's."""
    store.set_fact("counter", "1")
    other = sqlite3.connect(tmp_path / "batch.sqlite", timeout=0, isolation_level=None)
    with closing(other):
        with store.transaction():
            counted = int(store.fact("counter") or 0)
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("update facts set value = 7 where name = 'counter'")
            store.set_fact("counter", str(counted + 1))
        assert store.fact("counter") == "2"
        # Once it is over the other one may.
        other.execute("update facts set value = 7 where name = 'counter'")
    assert store.fact("counter") == "7"


def test_a_sqlite_record_is_kept_as_the_guarantees_need_it(tmp_path: Path) -> None:
    """Readers beside a writer, patience with other processes, and no file lost in a power cut."""
    with (
        closing(Database(sqlite_url(tmp_path / "x.sqlite"))) as database,
        database.reading() as connection,
    ):

        def pragma(name: str) -> object:
            return connection.exec_driver_sql(f"pragma {name}").scalar_one()

        assert pragma("journal_mode") == "wal"
        # 1 is NORMAL: the log is on the disk before what it says is copied into the file
        assert pragma("synchronous") == 1
        # ms; a long plan of another process takes seconds
        assert pragma("busy_timeout") == 60_000


def test_whoever_only_reads_holds_up_no_writer(store: Store, tmp_path: Path) -> None:
    store.plan(jobs("a"))
    other = sqlite3.connect(tmp_path / "batch.sqlite", timeout=0, isolation_level=None)
    with closing(other), closing(Database(sqlite_url(tmp_path / "batch.sqlite"))) as reader:
        with reader.reading() as connection:
            seen = "select count(*) from jobs"
            assert connection.exec_driver_sql(seen).scalar_one() == 1
            other.execute("delete from jobs")
            # One view of the record, whatever happens meanwhile.
            assert connection.exec_driver_sql(seen).scalar_one() == 1
        with reader.reading() as connection:
            assert connection.exec_driver_sql(seen).scalar_one() == 0


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
sys.path.insert(0, str(Path(sys.argv[2]) / "tests" / "unit"))
from orchestrator.batch.logic.jobs import *
from orchestrator.batch.execution.store.store import Store
store = Store.open(Path(sys.argv[1]))
print("ready", flush=True)
for one in store.pending(10**6):
    attempt = Attempt(
        prompt_id=one.key[:36], server="s", shots=(Shot(key=one.key, seed=1),)
    )
    number = store.claim(attempt)
    # a server would get it here: what it got must never be more than what is recorded
    print(one.key, flush=True)
    with store.transaction():
        store.record_timings(number, [Timing(span="load", seconds=1.0)] * 5)
        store.close_attempt(number, Outcome.DONE, seconds=1.0)
        store.move([one.key], State.DONE)
"""


@pytest.mark.parametrize("moment", [1, 7, 40])
def test_a_writer_that_is_killed_leaves_a_record_that_holds(tmp_path: Path, moment: int) -> None:
    with Store.open(tmp_path) as store:
        store.plan([job(f"j{number}") for number in range(3000)])
    command = [sys.executable, "-c", WRITER, str(tmp_path), str(REPOSITORY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        assert writer.stdout.readline() == "ready\n"
        for _ in range(moment):
            writer.stdout.readline()
        writer.kill()
        # what it had said before it died
        rest = writer.stdout.read().split("\n")
    sent = moment + len([line for line in rest if len(line) == 64])
    check = sqlite3.connect(tmp_path / "batch.sqlite").execute("pragma integrity_check")
    assert check.fetchone() == ("ok",)
    with Store.open(tmp_path, create=False) as store:
        counts = store.counts()
        recorded = counts[State.DONE] + counts[State.CLAIMED]
        assert sent <= recorded <= sent + 1
        assert counts[State.CLAIMED] == len(store.open_attempts()) <= 1
        assert sum(counts.values()) == 3000


PLANNER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from orchestrator.batch.logic.jobs import Job
from orchestrator.batch.execution.store.store import Store
def jobs():
    for n in range(20000):
        if n == 15000:
            print("halfway", flush=True)
            sys.stdin.read()
        yield Job(key=f"{n:064}", name=f"n{n}", item_id="i", parameters={}, seed=n)
Store.open(Path(sys.argv[1])).plan(jobs())
"""


def test_a_planner_that_is_killed_halfway_leaves_the_plan_before(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.plan(jobs("a", "b"))
    command = [sys.executable, "-c", PLANNER, str(tmp_path), str(REPOSITORY)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as planner:
        assert planner.stdout
        assert planner.stdout.readline() == "halfway\n"
        planner.kill()
    with Store.open(tmp_path) as store:
        assert names(store.pending(9)) == ["a", "b"]
        assert store.plan(jobs("a", "b")).kept == 2


HOLDER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from orchestrator.batch.execution.store.database import Database, sqlite_url
from orchestrator.batch.execution.store.folder_lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_second_orchestrator_says_so_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path), str(REPOSITORY)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(BatchBusy, match=f"another orchestrator .*process {holder.pid}"),
            held(tmp_path),
        ):
            pass
        holder.kill()
        holder.wait()
        with held(tmp_path):
            pass
    with held(tmp_path):
        pass


@pytest.mark.skipif(os.name == "nt", reason="Windows deletes no file that is held open")
def test_the_lock_holds_although_its_files_are_deleted(tmp_path: Path) -> None:
    with held(tmp_path):
        for path in tmp_path.iterdir():
            path.unlink()
        assert is_held(tmp_path)
        with pytest.raises(BatchBusy, match="another orchestrator"), held(tmp_path):
            pass
        with pytest.raises(BatchBusy, match="another orchestrator"), held(tmp_path):
            pass
    assert not is_held(tmp_path)
    with held(tmp_path):
        pass


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"), held(tmp_path / "file" / "out"):
        pass
