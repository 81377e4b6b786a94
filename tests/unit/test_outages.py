"""A record that goes away: what is written meanwhile, what is written once, who waits for whom."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.batch.execution.dispatcher import Fate
from orchestrator.batch.execution.outages import Outages
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.jobs import Outcome, State
from orchestrator.batch.logic.retry import FailureKind
from orchestrator.errors import StoreUnreachable
from test_leases import HERE, LONG, Owner, planned


class Away:
    """A store whose transactions fail at a moment that is chosen."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_away = threading.Event()
        # True: what is written is written all the same, and only the answer is lost
        self.answers_are_lost = False
        self.tried = threading.Event()
        self._transaction, self._depth = store.transaction, threading.local()
        monkeypatch.setattr(store, "transaction", self._broken)

    @contextmanager
    def _broken(self) -> Iterator[Any]:
        depth = getattr(self._depth, "value", 0)
        self._depth.value = depth + 1
        try:
            with self._transaction() as connection:
                yield connection
                if depth == 0 and self.is_away.is_set() and not self.answers_are_lost:
                    raise StoreUnreachable("the server closed the connection")
            if depth == 0 and self.is_away.is_set():
                raise StoreUnreachable("the server closed the connection")
        finally:
            self._depth.value = depth
            if depth == 0 and self.is_away.is_set():
                self.tried.set()


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Owner]:
    with Store.open(tmp_path) as store:
        store.plan(map(planned, range(3)))
    owner = Owner(tmp_path, "one", HERE)
    yield owner
    owner.store.close()


@pytest.fixture
def away(one: Owner, monkeypatch: pytest.MonkeyPatch) -> Away:
    return Away(one.store, monkeypatch)


def in_background(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def told(one: Owner, words: str) -> int:
    return sum(words in note for note in one.told.notes())


def test_an_end_that_cannot_be_written_is_written_later_and_stops_nobody(
    one: Owner, away: Away
) -> None:
    ended, other = one.take(), one.take()
    away.is_away.set()
    writing = in_background(lambda: one.finish(ended))
    assert away.tried.wait(LONG)
    # Whoever only looks is not kept waiting, and nothing counts yet.
    assert one.dispatcher.fate(other) is Fate.GO_ON
    assert one.dispatcher.fate(ended) is Fate.GO_ON
    assert one.dispatcher.take(HERE) is None
    assert not one.dispatcher.is_over()
    assert sum(one.dispatcher.counts().values()) == 0
    away.is_away.clear()
    writing.join(LONG)
    assert one.store.entry(ended.jobs[0].key).state is State.DONE
    assert one.dispatcher.server_counts[HERE].pictures == 1
    assert (told(one, "cannot be reached"), told(one, "reached again")) == (1, 1)
    assert one.dispatcher.take(HERE) is not None


@pytest.mark.parametrize("way", ["done", "failed", "given back"])
def test_what_was_written_is_not_written_again_where_only_the_answer_was_lost(
    one: Owner, away: Away, way: str
) -> None:
    assignment = one.take()
    key = assignment.jobs[0].key
    away.answers_are_lost = True
    away.is_away.set()

    def end() -> None:
        match way:
            case "done":
                one.finish(assignment)
            case "failed":
                one.dispatcher.failed(assignment, FailureKind.NODE_FAILED, "it broke")
            case "given back":
                one.dispatcher.give_back(assignment, "stopped")

    writing = in_background(end)
    assert away.tried.wait(LONG)
    away.is_away.clear()
    writing.join(LONG)
    expected = {"done": Outcome.DONE, "failed": Outcome.FAILED, "given back": Outcome.CANCELLED}
    assert [found.outcome for found in one.store.attempts_of(key)] == [expected[way]]
    assert one.store.entry(key).state is (State.DONE if way == "done" else State.PENDING)
    # It was no other orchestrator.
    assert told(one, "taken over") == 0
    assert one.dispatcher.server_counts[HERE].pictures == (way == "done")


def test_what_another_took_over_during_an_outage_is_lost(
    one: Owner, away: Away, tmp_path: Path
) -> None:
    assignment = one.take()
    away.is_away.set()
    writing = in_background(lambda: one.finish(assignment))
    assert away.tried.wait(LONG)
    with Store.open(tmp_path) as other:
        assert other.take_over("two", 30.0, all=True)
    away.is_away.clear()
    writing.join(LONG)
    assert one.dispatcher.fate(assignment) is Fate.LOST
    assert one.store.entry(assignment.jobs[0].key).state is State.CLAIMED
    assert one.store.artifacts(assignment.jobs[0].key) == []
    assert told(one, "taken over") == 1


def test_a_claim_whose_answer_was_lost_is_found(
    one: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = one.store.claim

    def lost(*arguments: Any, **values: Any) -> int:
        claim(*arguments, **values)
        raise StoreUnreachable("the server closed the connection")

    with monkeypatch.context() as patch:
        patch.setattr(one.store, "claim", lost)
        assert one.dispatcher.take(HERE) is None
    one.dispatcher.outages.ended()
    kept = one.take()
    one.finish(one.take(), kept)
    # Nothing waits and nothing is known of it, and it is not all there is.
    one.dispatcher.settings = replace(one.dispatcher.settings, endless=False)
    assert not one.dispatcher.is_over()
    (found,) = one.dispatcher.take_over()
    assert found.attempt.prompt_id != kept.attempt.prompt_id
    assert one.dispatcher.fate(found) is Fate.GO_ON
    assert one.dispatcher.take_over() == []


def test_sentences_for_the_log_wait_for_the_record(
    one: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: Any, **values: Any) -> None:
        raise StoreUnreachable("the server closed the connection")

    with monkeypatch.context() as patch:
        patch.setattr(one.store, "log", refused)
        one.dispatcher.say("the first")
        one.dispatcher.say("the second")
    assert one.told.notes().count("the first") == 1
    one.dispatcher.outages.ended()
    one.dispatcher.write_log()
    texts = [event.text for event in one.store.events()]
    assert [text for text in texts if text.startswith("the ")] == ["the first", "the second"]


def test_patience_has_an_end() -> None:
    rests: list[float] = []
    outages = Outages(lambda text, warning: None, rests.append, lambda: False, patience=0.0)

    def never() -> None:
        raise StoreUnreachable("nobody is there")

    with pytest.raises(StoreUnreachable):
        outages.patiently(never)
    assert outages.is_away
    assert outages.calm() == 0.0
    assert len(rests) <= 1


def test_a_run_that_is_to_end_has_little_patience() -> None:
    ending = threading.Event()
    tries = 0

    def never() -> None:
        nonlocal tries
        tries += 1
        raise StoreUnreachable("nobody is there")

    def rest(seconds: float) -> None:
        ending.set()
        threading.Event().wait(seconds)

    outages = Outages(lambda text, warning: None, rest, ending.is_set, patience=1e9)
    with pytest.raises(StoreUnreachable):
        outages.patiently(never)
    assert tries > 1


def test_other_errors_are_not_repeated() -> None:
    outages = Outages(lambda text, warning: None, lambda seconds: None, lambda: False)
    with pytest.raises(ZeroDivisionError):
        outages.patiently(lambda: 1 // 0)
    assert not outages.is_away
