"""How far a request is, from a server's events."""

from __future__ import annotations

from typing import Any

from orchestrator.protocol import (
    Executing,
    ExecutionCached,
    ExecutionError,
    ExecutionStart,
    NodeProgress,
    Preview,
    ProgressState,
    StepProgress,
)
from orchestrator.service.request_progress import Tracker
from orchestrator.service.watching import Runs

GRAPH: dict[str, Any] = {
    "1": {"class_type": "Loader", "inputs": {}},
    "2": {"class_type": "Defaults", "inputs": {"steps": 500}},
    "3": {
        "class_type": "KSampler",
        "inputs": {"seed": 1, "steps": ["2", 0], "latent_image": ["1", 0]},
    },
    "4": {"class_type": "Save", "inputs": {"images": ["3", 0]}},
}


def _begin(node: str | None) -> Executing:
    return Executing(prompt_id="p", node=node)


def test_a_sampler_weighs_as_much_as_its_steps() -> None:
    tracker = Tracker(GRAPH)
    tracker.take(ExecutionStart(prompt_id="p"))
    for node in ("1", "2", "3"):
        tracker.take(_begin(node))
    assert tracker.view().nodes_done == 2
    tracker.take(StepProgress(prompt_id="p", node="3", value=0, max=7))
    # 2 of 1 + 1 + 7 + 1
    assert tracker.view().value == 0.2
    tracker.take(StepProgress(prompt_id="p", node="3", value=7, max=7))
    view = tracker.view()
    assert view.value == 0.9
    assert (view.step, view.steps, view.message) == (7, 7, "KSampler 7/7")
    tracker.take(_begin(None))
    assert tracker.view().value == 1.0
    assert tracker.view().nodes_done == 4


def test_it_never_falls() -> None:
    tracker = Tracker(GRAPH)
    tracker.take(StepProgress(prompt_id="p", node="3", value=20, max=20))
    high = tracker.view().value
    tracker.take(_begin("1"))
    tracker.take(StepProgress(prompt_id="p", node="3", value=1, max=900))
    assert tracker.view().value == high


def test_states_and_cached_nodes_count() -> None:
    tracker = Tracker(GRAPH)
    tracker.take(ExecutionCached(prompt_id="p", nodes=("1", "2", "elsewhere")))
    running = NodeProgress(node_id="3", state="running", value=2, max=4)
    tracker.take(ProgressState(prompt_id="p", nodes=(running,)))
    view = tracker.view()
    assert (view.node, view.step, view.steps, view.nodes_done) == ("3", 2, 4, 2)
    done = NodeProgress(node_id="3", state="finished", value=4, max=4)
    tracker.take(ProgressState(prompt_id="p", nodes=(done,)))
    assert tracker.view().nodes_done == 3


def test_what_a_node_expands_to_is_its_own() -> None:
    tracker = Tracker(GRAPH)
    tracker.take(Executing(prompt_id="p", node="3.0.7", display_node="3"))
    assert tracker.view().node == "3"


def test_runs_do_not_tell_every_step() -> None:
    clock = [0.0]
    runs = Runs(lambda: clock[0])
    runs.sent("job", GRAPH, "server")
    assert runs.heard("other", "server", ExecutionStart(prompt_id="p")) is None
    assert runs.heard("job", "server", ExecutionStart(prompt_id="p")) is not None
    assert runs.on("server") == "job"
    told = []
    for step in range(1, 100):
        clock[0] += 0.01
        event = StepProgress(prompt_id="p", node="3", value=step, max=100)
        told.append(runs.heard("job", "server", event))
    assert 5 <= len([one for one in told if one]) <= 12
    clock[0] += 1
    image = Preview(format="jpeg", image=b"abc")
    shown = runs.heard("job", "server", image)
    assert shown is not None
    assert shown.preview is not None
    assert shown.preview["node_id"] == "3"
    assert runs.heard("job", "server", image) is None
    error = ExecutionError(
        prompt_id="p", node_id="3", node_type="KSampler", exception_message="no such thing"
    )
    runs.heard("job", "server", error)
    ended = runs.error("job")
    runs.ended("job")
    assert ended is not None
    assert (ended.code, ended.node_id) == ("node_execution_error", "3")
    assert runs.on("server") == ""
