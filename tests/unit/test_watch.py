"""Waiting for a job, look by look and event by event, on a scripted clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from orchestrator.client.bounds import AnswerTooLarge
from orchestrator.client.client import raise_for_state
from orchestrator.client.listener import Listener
from orchestrator.client.watch import Watch
from orchestrator.client.wire import Timeouts
from orchestrator.errors import JobLost, JobTimedOut, NodeFailed, ProtocolError, ServerLost
from orchestrator.protocol import (
    Event,
    Executing,
    ExecutionError,
    ExecutionStart,
    ExecutionSuccess,
    HistoryRecord,
    JobState,
    QueueState,
    QueueStatus,
    StepProgress,
)

JOB = "job"
URL = "http://server"
TIMEOUTS = Timeouts(poll=1.0, lost_polls=5, lost_after=10.0)
DONE = HistoryRecord(prompt_id=JOB, graph={}, outputs={}, state=JobState.SUCCEEDED, messages=())
START, SUCCESS = ExecutionStart(prompt_id=JOB), ExecutionSuccess(prompt_id=JOB)
OVER = Executing(prompt_id=JOB, node=None)


class World:
    """A server, its WebSocket and the time, as a test scripts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        # s at which what is heard, in order
        self.words: list[tuple[float, Event | Callable[[], None]]] = []
        # what history and queue say at a moment
        self.record: Callable[[float], HistoryRecord | None] = lambda now: None
        self.running: Callable[[float], bool] = lambda now: True
        self.slowness = 0.0
        self.connected = True
        self.client_id = "first"
        self.looks: list[float] = []
        self.told: list[Event] = []
        self.turns = 0
        self.left: Callable[[], float] = lambda: math.inf
        clock = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr("orchestrator.client.watch.time", clock)

    def hear(self, seconds: float, *, gather: float = 0.0) -> Event | None:
        until = self.now + seconds
        while self.words and self.words[0][0] <= until:
            at, word = self.words.pop(0)
            self.now = max(self.now, at)
            if not callable(word):
                return word
            word()
        self.now = until
        return None

    def look(self, prompt_id: str) -> HistoryRecord | None:
        self.looks.append(round(self.now, 3))
        self.now += self.slowness
        return self.record(self.now)

    def queue(self) -> QueueState:
        return QueueState(running=(JOB,) if self.running(self.now) else (), pending=())

    def turn(self) -> None:
        self.turns += 1
        assert self.turns < 500, "it never ends"

    def watch(self) -> Watch:
        return Watch(
            cast(Listener, self),
            JOB,
            url=URL,
            look=self.look,
            queue=self.queue,
            timeouts=TIMEOUTS,
            on_event=self.told.append,
            check=lambda: None,
            on_turn=self.turn,
            left=self.left,
        )


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


# --------------------------------------------------------------------------- lost


def test_a_job_is_lost_after_five_looks_and_five_seconds(world: World) -> None:
    world.running = lambda now: False
    with pytest.raises(JobLost):
        world.watch().run()
    assert world.looks == [0, 1, 2, 3, 4, 5]


def test_many_looks_in_a_short_time_lose_no_job(world: World) -> None:
    """Every change of the queue is a reason to look: a job may be on its way in meanwhile."""
    world.client_id = ""
    world.words = [(0.01 * n, QueueStatus(queue_remaining=n)) for n in range(1, 20)]
    world.running = lambda now: now > 2
    world.record = lambda now: DONE if now > 3 else None
    assert world.watch().run() is DONE
    assert len(world.looks) > 15


def test_few_looks_that_take_long_lose_no_job(world: World) -> None:
    world.slowness = 30.0
    world.running = lambda now: now > 100
    world.record = lambda now: DONE if now > 150 else None
    assert world.watch().run() is DONE


def test_absence_counts_only_in_a_row(world: World) -> None:
    world.slowness = 3.0
    # away for four looks, there for one, away for four
    there = iter([False] * 4 + [True] + [False] * 4 + [True] * 9)
    world.running = lambda now: next(there)
    world.record = lambda now: DONE if len(world.looks) > 12 else None
    assert world.watch().run() is DONE


# --------------------------------------------------------------------------- silent servers


def silent_from(begin: float, end: float) -> Callable[[float], HistoryRecord | None]:
    def record(now: float) -> HistoryRecord | None:
        if begin <= now < end:
            raise ServerLost("it does not answer")
        return DONE if now >= end else None

    return record


def test_a_server_may_be_silent_for_a_while_after_it_has_answered_for_long(world: World) -> None:
    world.record = silent_from(100.0, 109.0)
    assert world.watch().run() is DONE


def test_a_server_that_is_silent_for_longer_is_lost(world: World) -> None:
    world.record = silent_from(100.0, 1e9)
    with pytest.raises(ServerLost, match="has not answered for 11 s"):
        world.watch().run()


def test_a_record_that_stays_malformed_ends_the_waiting_as_one(world: World) -> None:
    def malformed(now: float) -> HistoryRecord | None:
        raise ProtocolError("it cannot be read")

    world.record = malformed
    with pytest.raises(ProtocolError, match=r"could not be read for 11 s.*it cannot be read"):
        world.watch().run()
    assert len(world.looks) == 12


def test_what_answers_more_than_it_may_is_not_asked_again(world: World) -> None:
    def flood(now: float) -> HistoryRecord | None:
        raise AnswerTooLarge("too much")

    world.record = flood
    with pytest.raises(AnswerTooLarge):
        world.watch().run()
    assert len(world.looks) == 1


def test_the_time_of_the_whole_ends_the_waiting(world: World) -> None:
    def left() -> float:
        if world.now >= 3.5:
            raise JobTimedOut("over")
        return 3.5 - world.now

    world.left = left
    with pytest.raises(JobTimedOut):
        world.watch().run()
    assert world.now == 3.5


# --------------------------------------------------------------------------- when to look


def test_a_flood_of_reasons_gives_no_flood_of_looks(world: World) -> None:
    world.client_id = ""
    world.words = [(0.001 * n, QueueStatus(queue_remaining=n)) for n in range(1, 3000)]
    world.record = lambda now: DONE if now > 3 else None
    assert world.watch().run() is DONE
    assert len(world.looks) < 4 * 60


def test_words_without_end_do_not_keep_a_record_from_us(world: World) -> None:
    world.words = [
        (0.01 * n, StepProgress(prompt_id=JOB, node="1", value=1, max=2)) for n in range(999)
    ]
    world.record = lambda now: DONE
    assert world.watch().run() is DONE
    assert world.now < 2


def test_only_what_may_concern_the_job_is_a_reason_to_look(world: World) -> None:
    blocked = ExecutionError(
        prompt_id=JOB,
        node_id="1",
        node_type="X",
        exception_message="",
        exception_type="ExecutionBlocked",
    )
    world.words = [
        # the greeting of a new connection
        (0.2, QueueStatus(queue_remaining=1, sid="s")),
        (0.3, START),
        # after which the run goes on
        (0.4, blocked),
        (0.5, StepProgress(prompt_id=JOB, node="1", value=1, max=2)),
        (0.6, ExecutionSuccess(prompt_id="another")),
        (1.7, SUCCESS),
    ]
    world.record = lambda now: DONE if now >= 1.7 else None
    assert world.watch().run() is DONE
    assert world.looks == [0.0, 1.0, 1.7]


def test_a_start_is_told_once_however_often_it_is_heard(world: World) -> None:
    world.words = [(0.5, START), (0.6, START)]
    world.record = lambda now: DONE if now >= 2 else None
    world.watch().run()
    # The queue said so first.
    assert world.told == [START]


# --------------------------------------------------------------------------- the server's word


def test_over_one_connection_the_servers_word_of_a_success_is_enough(world: World) -> None:
    world.words = [(0.1, START), (0.2, SUCCESS), (0.21, OVER)]
    assert world.watch().hear_out() is None
    assert world.looks == []
    assert world.told == [START, SUCCESS, OVER]


def test_a_success_without_its_last_word_is_looked_for(world: World) -> None:
    world.words = [(0.1, START), (0.2, SUCCESS)]
    world.record = lambda now: DONE
    assert world.watch().hear_out() is DONE


def test_an_end_that_is_no_success_is_looked_for(world: World) -> None:
    failed = HistoryRecord(prompt_id=JOB, graph={}, outputs={}, state=JobState.FAILED, messages=())
    world.words = [(0.1, START), (0.3, OVER)]
    world.record = lambda now: failed
    assert world.watch().hear_out() is failed


@pytest.mark.parametrize("moment", [0.05, 0.15, 0.205])
def test_after_a_new_connection_the_servers_word_is_not_enough(world: World, moment: float) -> None:
    def reconnected() -> None:
        world.client_id = "second"

    words: list[tuple[float, Any]] = [(0.1, START), (0.2, SUCCESS), (0.21, OVER)]
    world.words = sorted([*words, (moment, reconnected)], key=lambda word: word[0])
    world.record = lambda now: DONE
    assert world.watch().hear_out() is DONE
    assert world.looks


# --------------------------------------------------------------------------- how it ended


def error(**data: Any) -> tuple[str, dict[str, Any]]:
    return "execution_error", {"node_id": "1", "node_type": "X", **data}


def test_of_several_errors_the_last_that_ended_the_run_is_told() -> None:
    record = HistoryRecord(
        prompt_id=JOB,
        graph={},
        outputs={},
        state=JobState.FAILED,
        messages=(
            error(exception_message="the first"),
            error(exception_message="the last", exception_type="ValueError"),
            error(exception_message="blocked", exception_type="ExecutionBlocked"),
        ),
    )
    with pytest.raises(NodeFailed, match="the last") as caught:
        raise_for_state(record)
    assert caught.value.kind == "ValueError"
