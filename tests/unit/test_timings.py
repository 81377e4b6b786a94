"""Spans of a run, from scripted events on a scripted clock."""

from __future__ import annotations

import pytest

from orchestrator.client.timings import Stopwatch
from orchestrator.protocol import (
    Executing,
    ExecutionCached,
    ExecutionStart,
    Graph,
    HistoryRecord,
    JobState,
    NodeProgress,
    ProgressState,
)

JOB = "job"
GRAPH: Graph = {
    "1": {"class_type": "EmptyImage", "inputs": {}},
    "2": {"class_type": "KSampler", "inputs": {}, "_meta": {"title": "Sample"}},
    "3": {"class_type": "SaveImage", "inputs": {}},
}


class Clock:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def record(*stamps: int) -> HistoryRecord:
    names = ["execution_start", *["execution_cached"] * (len(stamps) - 2), "execution_success"]
    messages = tuple(
        (name, {"timestamp": stamp, "nodes": []})
        for name, stamp in zip(names, stamps, strict=False)
    )
    return HistoryRecord(
        prompt_id=JOB, graph=GRAPH, outputs={}, state=JobState.SUCCEEDED, messages=messages
    )


def state(**states: str) -> ProgressState:
    nodes = tuple(
        NodeProgress(node_id=name.lstrip("n"), state=one, real_node_id=name.lstrip("n"))
        for name, one in states.items()
    )
    return ProgressState(prompt_id=JOB, nodes=nodes)


def test_nodes_are_timed_from_running_to_finished() -> None:
    clock = Clock()
    watch = Stopwatch(GRAPH, clock)
    watch.observe(ExecutionCached(prompt_id=JOB, nodes=("1",)))
    watch.observe(state(n2="running"))
    clock.now += 1
    watch.observe(state(n2="running"))
    clock.now += 2
    watch.observe(state(n2="finished", n3="running"))
    clock.now += 0.5
    watch.observe(state(n2="finished", n3="finished"))
    first, second, third = watch.timings(record()).nodes
    assert (first.seconds, first.cached) == (0.0, True)
    assert (second.seconds, second.cached, second.title) == (3.0, False, "Sample")
    assert (third.seconds, third.title) == (0.5, "SaveImage")


def test_expanded_nodes_count_for_the_node_they_come_from_once() -> None:
    clock = Clock()
    watch = Stopwatch(GRAPH, clock)

    def inner(name: str, one: str) -> NodeProgress:
        return NodeProgress(node_id=name, state=one, real_node_id="2")

    def send(*nodes: NodeProgress) -> None:
        watch.observe(ProgressState(prompt_id=JOB, nodes=nodes))
        clock.now += 1

    send(inner("2", "running"))
    send(inner("2", "running"), inner("2.0.1", "running"))
    send(inner("2", "running"), inner("2.0.1", "finished"))
    send(inner("2", "finished"), inner("2.0.1", "finished"))
    assert watch.timings(record()).nodes[1].seconds == 3.0


def test_without_progress_state_the_order_of_executing_tells() -> None:
    clock = Clock()
    watch = Stopwatch(GRAPH, clock)
    for node, display in (("1", "1"), ("2", "2"), ("2.0.1", "2"), ("3", "3")):
        watch.observe(Executing(prompt_id=JOB, node=node, display_node=display))
        clock.now += 1
    watch.observe(Executing(prompt_id=JOB, node=None))
    assert [node.seconds for node in watch.timings(record()).nodes] == [1.0, 2.0, 1.0]


def test_a_silent_server_leaves_seconds_unknown() -> None:
    timings = Stopwatch(GRAPH, Clock()).timings(record())
    assert [node.seconds for node in timings.nodes] == [None, None, None]


@pytest.mark.parametrize(("stamps", "queued"), [((5_000, 5_010, 8_000), 4.0), ((), 1.5)])
def test_queue_total_and_transfer(stamps: tuple[int, ...], queued: float) -> None:
    clock = Clock()
    watch = Stopwatch(GRAPH, clock)
    with watch.transfer():
        clock.now += 0.25
    watch.submitted()
    clock.now += 1.5
    watch.observe(ExecutionStart(prompt_id=JOB))
    clock.now += 5.5
    watch.ended()
    with watch.transfer():
        clock.now += 0.75
    timings = watch.timings(record(*stamps))
    assert (timings.queued_s, timings.total_s, timings.transfer_s) == (queued, 8.0, 1.0)
    assert set(timings.to_json()) == {"queued_s", "total_s", "transfer_s", "nodes"}


def test_a_clock_that_runs_fast_on_the_server_makes_no_negative_queue() -> None:
    clock = Clock()
    watch = Stopwatch(GRAPH, clock)
    watch.submitted()
    clock.now += 1.0
    watch.ended()
    # It says that it ran for longer than we waited.
    assert watch.timings(record(0, 3000)).queued_s == 0.0


def test_one_stamp_says_nothing_of_how_long_it_ran() -> None:
    clock = Clock()
    watch = Stopwatch(GRAPH, clock)
    watch.submitted()
    clock.now += 2.0
    watch.observe(ExecutionStart(prompt_id=JOB))
    clock.now += 1.0
    # Heard again, as after a break; the first counts.
    watch.observe(ExecutionStart(prompt_id=JOB))
    clock.now += 4.0
    watch.ended()
    assert watch.timings(record(5000)).queued_s == 2.0
