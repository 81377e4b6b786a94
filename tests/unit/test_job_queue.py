"""The window of the jobs that wait: bounded, and what it leaves to the store comes again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.batch.execution.job_queue import JobQueue
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.jobs import Job
from orchestrator.batch.logic.scheduler import Rules, ServerState, Situation, Waiting, choose


def job(name: str, owner: str = "", priority: int = 0) -> Job:
    return Job(
        key=hashlib.sha256(name.encode()).hexdigest(),
        name=name,
        item_id="item",
        parameters={},
        seed=1,
        group="",
        model="",
        owner=owner,
        priority=priority,
    )


def seen(one: Job) -> Waiting:
    return Waiting(key=one.key, batch=one.owner, priority=one.priority, order=one.order)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


def names(queue: JobQueue) -> list[str]:
    return sorted(queue.job(key).name for key in queue.window)


def test_what_is_far_beyond_a_share_is_left_to_the_store_the_least_urgent_first(
    store: Store,
) -> None:
    added = store.add([job(f"{n:03}", priority=int(n == 399)) for n in range(400)])
    queue = JobQueue(store, seen)
    for one in added:
        queue.put(one, seen(one))
    queue.refill()
    share = len(queue.window)
    assert 0 < share < 400
    assert names(queue) == [*(f"{n:03}" for n in range(share - 1)), "399"]
    # there is more, where that is asked for
    assert queue.widen()
    queue.refill()
    assert len(queue.window) > share


def test_owners_with_little_keep_it_when_another_has_too_much(store: Store) -> None:
    many = store.add([job(f"a{n:03}", "ann") for n in range(400)])
    few = store.add([job(f"b{n}", "bob") for n in range(3)])
    queue = JobQueue(store, seen)
    for one in (*many, *few):
        queue.put(one, seen(one))
    queue.refill()
    assert [name for name in names(queue) if name.startswith("b")] == ["b0", "b1", "b2"]
    assert len(queue.window) < 300


def test_of_an_owner_who_has_nothing_left_in_the_store_nothing_stays_here(store: Store) -> None:
    gone, _ = store.add([job("a", "ann"), job("b", "bob")])
    queue = JobQueue(store, seen)
    queue.refill()
    assert names(queue) == ["a", "b"]
    store.cancel([gone.key])
    queue.arrived()
    queue.refill()
    assert names(queue) == ["b"]
    assert list(queue.fresh) == ["bob"]


@pytest.mark.parametrize(("waiting", "gets"), [(400, 1), (3, 0)])
def test_a_server_without_the_model_takes_at_once_what_no_window_holds(
    waiting: int, gets: int, store: Store
) -> None:
    store.add([job(f"{n:03}") for n in range(waiting)])
    now = 1.0
    queue = JobQueue(store, lambda one: replace(seen(one), model="m", since=now))
    queue.refill()
    situation = Situation(
        waiting=list(queue.window.values()),
        servers={"http://a": ServerState(url="http://a", model="another")},
        now=now,
        rules=Rules(head_start=1.0),
    )
    assert len(choose("http://a", situation)) == gets


def test_an_owner_is_fresh_until_something_of_it_is_sent_or_nothing_is_left(store: Store) -> None:
    one, two, other = store.add([job("1", "ann"), job("2", "ann"), job("3", "bob")])
    queue = JobQueue(store, seen)
    queue.refill()
    assert sorted(queue.fresh) == ["ann", "bob"]
    assert sorted(queue.window) == sorted([one.key, two.key, other.key])
    queue.sent([seen(one)])
    assert (queue.fresh, queue.served["ann"]) == (("bob",), 1)
    queue.remove([other.key])
    assert queue.fresh == ()
    assert not queue.widen()
