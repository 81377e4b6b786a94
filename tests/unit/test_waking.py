"""Hints that there is work: for whom they are, and that they are told again while work waits."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.batch.execution.store import tables
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.jobs import Attempt, Job, Shot
from orchestrator.errors import BadValue
from orchestrator.protocol import new_prompt_id
from orchestrator.service.waking import reconciler
from orchestrator.service.waking.coalescing import Coalescer
from orchestrator.service.waking.notifications import concerns, payload_of
from orchestrator.service.waking.opening import open_wakeups
from orchestrator.service.waking.reconciler import Reconciler
from orchestrator.service.waking.wakeups import ANY, Polling, names_in

LONG = 30.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as found:
        yield found


class Called(Polling):
    """Keeps what it is called for."""

    def __init__(self) -> None:
        self.models: list[set[str]] = []
        self.came = threading.Event()

    def call(self, models: object) -> None:
        self.models.append(set(models))  # type: ignore[call-overload]
        self.came.set()


def job(number: int, model: str = "m") -> Job:
    name = f"{number:064}"
    return Job(key=name, name=name, item_id="", parameters={}, seed=None, model=model)


def test_jobs_that_another_connection_adds_to_a_file_are_heard(
    store: Store, tmp_path: Path
) -> None:
    came = threading.Semaphore(0)
    with Store.open(tmp_path) as other, closing(open_wakeups(_url(tmp_path))) as wakeups:
        with wakeups.listen(came.release):
            assert came.acquire(timeout=LONG), "what was there before"
            for number in range(3):
                other.log("something else")
                other.add([job(number)])
                assert came.acquire(timeout=LONG), number
        other.add([job(9)])
    assert not came.acquire(blocking=False)


def test_a_file_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    came = threading.Semaphore(0)
    with closing(open_wakeups(_url(tmp_path))) as wakeups, wakeups.listen(came.release):
        assert not came.acquire(timeout=0.3)
        assert list(tmp_path.iterdir()) == []
        with Store.open(tmp_path) as store:
            store.add([job(1)])
            assert came.acquire(timeout=LONG)


def _url(folder: Path) -> str:
    return f"sqlite:///{folder / 'batch.sqlite'}"


def test_without_a_server_dispatchers_look_by_themselves() -> None:
    wakeups = open_wakeups("")
    assert isinstance(wakeups, Polling)
    assert isinstance(open_wakeups("sqlite:////tmp/x.sqlite"), Polling)
    with wakeups.listen(lambda: None):
        wakeups.call(["a"])
    wakeups.close()
    with pytest.raises(BadValue):
        open_wakeups("no address")


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("a.safetensors", {"a.safetensors"}),
        ("", {ANY}),
        ('""', {ANY}),
        ('["a", "b"]', {"a", "b"}),
        ('{"1": "a", "2": ["b", 3]}', {"a", "b"}),
        ("[a] b.safetensors", {"[a] b.safetensors"}),
    ],
)
def test_a_job_says_which_models_it_needs(model: str, names: set[str]) -> None:
    assert names_in(model) == names


def test_a_hint_is_for_those_who_have_the_model() -> None:
    payload = payload_of(["a", '["b", "c"]'])
    assert json.loads(payload) == ["a", "b", "c"]
    assert concerns(payload, None)
    assert concerns(payload, lambda: ["c"])
    assert not concerns(payload, lambda: ["d"])
    assert concerns(payload_of([""]), lambda: [])
    # too long for a payload, or another program's
    assert concerns(payload_of(f"{number:0100}" for number in range(100)), lambda: ["d"])
    assert concerns("{", lambda: ["d"])


def test_values_that_come_close_together_go_as_one_set() -> None:
    handled: list[frozenset[str]] = []
    hold, began, done = threading.Event(), threading.Event(), threading.Event()

    def handle(values: frozenset[str]) -> None:
        handled.append(values)
        began.set()
        assert hold.wait(LONG)
        if len(handled) == 2:
            done.set()

    coalescer = Coalescer(handle, "test")
    coalescer.put(["a"])
    assert began.wait(LONG)
    for value in ("b", "c", "b"):
        coalescer.put([value])
    hold.set()
    assert done.wait(LONG)
    coalescer.close()
    assert handled == [{"a"}, {"b", "c"}]


def test_what_cannot_be_handed_on_is_tried_again_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tries: list[frozenset[str]] = []
    well = threading.Event()

    def handle(values: frozenset[str]) -> None:
        tries.append(values)
        if len(tries) < 3:
            raise OSError("away")
        well.set()

    caplog.set_level(logging.WARNING)
    coalescer = Coalescer(handle, "test", "hints")
    coalescer.put(["a"])
    assert well.wait(LONG)
    coalescer.close()
    assert tries == [{"a"}] * 3
    assert [one.message for one in caplog.records] == ["hints cannot be handed on for now: away"]


def test_what_waits_is_told_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "EVERY", 0.01)
    called = Called()
    store.add([job(1, "a"), job(2, "b"), job(3, "a")])
    with Reconciler(store.database, called, "one"):
        assert called.came.wait(LONG)
    assert called.models[0] == {"a", "b"}


def test_it_is_told_where_a_lease_has_run_out(store: Store) -> None:
    store.add([job(1)])
    attempt = Attempt(
        prompt_id=new_prompt_id(), server="s", shots=(Shot(key=job(1).key, seed=None, index=0),)
    )
    mine = Reconciler(store.database, Called(), "one")
    store.claim(attempt, owner="dead", seconds=3600)
    assert mine.waiting() == set()
    with store.transaction() as connection:
        connection.execute(tables.attempts.update().values(lease=1.0))
    assert mine.waiting() == {ANY}


def test_one_reconciles_until_it_is_heard_no_more(store: Store) -> None:
    one = Reconciler(store.database, Called(), "one")
    other = Reconciler(store.database, Called(), "other")
    assert [one.holds(), other.holds(), one.holds(), other.holds()] == [True, False, True, False]
    until = _until(store)
    # It is written anew when half of the time is over, and not before.
    _set(store, "one", until - reconciler.LEASE / 2 - 0.1)
    assert one.holds()
    assert _until(store) >= until
    _set(store, "one", until - reconciler.LEASE - 60.0)
    assert [other.holds(), one.holds()] == [True, False]


def _until(store: Store) -> float:
    found: float = json.loads(store.fact(reconciler.HOLDER) or "")[1]
    return found


def _set(store: Store, owner: str, until: float) -> None:
    store.set_fact(reconciler.HOLDER, json.dumps([owner, until]))
