"""Where an attempt's time went on its server, from scripted records."""

from __future__ import annotations

from orchestrator.batch.execution.spans import SpanTaker
from orchestrator.batch.logic.jobs import Timing
from orchestrator.client.timings import Stopwatch
from orchestrator.protocol import Executing, ExecutionCached, Graph, HistoryRecord, JobState

GRAPH: Graph = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {}},
    "2": {"class_type": "SaveImage", "inputs": {}},
}


def record(began: int | None, ended: int | None) -> HistoryRecord:
    """A run from `began` to `ended`, in ms on the server's clock; None leaves the stamp out."""
    messages = (
        ("execution_start", {} if began is None else {"timestamp": began}),
        ("execution_success", {} if ended is None else {"timestamp": ended}),
    )
    return HistoryRecord(
        prompt_id="p", graph=GRAPH, outputs={}, state=JobState.SUCCEEDED, messages=messages
    )


def run(seconds: float) -> Timing:
    return Timing(span="run", seconds=seconds)


def idle(seconds: float) -> Timing:
    return Timing(span="idle", seconds=seconds)


def test_a_server_is_idle_from_the_end_of_a_job_to_the_start_of_the_next() -> None:
    taker = SpanTaker()
    assert taker.take(record(1000, 3000), None) == [run(2.0)]
    assert taker.take(record(3250, 4000), None) == [run(0.75), idle(0.25)]
    assert taker.take(record(4000, 5000), None) == [run(1.0), idle(0.0)]


def test_a_pause_without_work_is_no_idle_time() -> None:
    taker = SpanTaker()
    taker.take(record(1000, 3000), None, paused=True)
    assert taker.take(record(900_000, 901_000), None, paused=True) == [run(1.0)]
    # From there on it is measured again.
    assert taker.take(record(901_500, 902_000), None) == [run(0.5), idle(0.5)]


def test_a_clock_that_was_set_back_makes_no_negative_idle_time() -> None:
    taker = SpanTaker()
    taker.take(record(5000, 6000), None)
    assert taker.take(record(2000, 3000), None) == [run(1.0), idle(0.0)]


def test_a_record_without_stamps_says_nothing_of_it_and_of_the_next() -> None:
    taker = SpanTaker()
    taker.take(record(1000, 2000), None)
    assert taker.take(record(2100, None), None) == []
    assert taker.take(record(9000, 9500), None) == [run(0.5)]
    assert taker.take(record(None, 9900), None) == []
    assert taker.take(record(10_000, 11_000), None) == [run(1.0), idle(0.1)]


def test_nodes_that_ran_are_told_and_cached_ones_are_not() -> None:
    now = 0.0
    watch = Stopwatch(GRAPH, lambda: now)
    watch.submitted()
    watch.observe(ExecutionCached(prompt_id="p", nodes=("1",)))
    watch.observe(Executing(prompt_id="p", node="2"))
    now = 3.0
    watch.observe(Executing(prompt_id="p", node=None))
    watch.ended()
    assert SpanTaker().take(record(1000, 3000), watch) == [
        run(2.0),
        Timing(span="queued", seconds=1.0),
        Timing(span="node:2", seconds=3.0, node_class="SaveImage"),
    ]
