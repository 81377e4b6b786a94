"""Running graphs with small nodes on numbers: order, cache, events, lists, errors, interruption."""

from __future__ import annotations

import threading
from io import BytesIO
from typing import Any

import pytest
import torch
from PIL import Image

from orchestrator.engine.execution.executor import Executor, is_out_of_memory
from orchestrator.engine.execution.graph_worker import GraphWorker
from orchestrator.engine.execution.jobs import GraphJob, GraphQueue, Report
from orchestrator.engine.execution.validation import check
from orchestrator.engine.host import InterruptedByUser, context, io
from orchestrator.engine.serving.registry import by_name
from orchestrator.protocol import (
    Event,
    Executed,
    Executing,
    ExecutionCached,
    ExecutionError,
    ExecutionInterrupted,
    ExecutionStart,
    ExecutionSuccess,
    Graph,
    Preview,
    ProgressState,
    StepProgress,
)

calls: list[str] = []


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    calls.clear()
    Version.value = 0


def schema(name: str, inputs: list[Any], outputs: list[Any] | None = None, **rest: Any) -> Any:
    outputs = [io.Int.Output()] if outputs is None else outputs
    return io.Schema(node_id=name, category="test", inputs=inputs, outputs=outputs, **rest)


class Number(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema("Number", [io.Int.Input("value", min=0, max=100)])

    @classmethod
    def execute(cls, value: int) -> io.NodeOutput:
        calls.append(f"number {value}")
        return io.NodeOutput(value)


class Numbers(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [io.Int.Input("count")]
        return schema("Numbers", inputs, [io.Int.Output(is_output_list=True), io.Int.Output()])

    @classmethod
    def execute(cls, count: int) -> tuple[list[int], int]:
        return list(range(count)), count


class Add(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema("Add", [io.Int.Input("a"), io.Int.Input("b")])

    @classmethod
    async def execute(cls, a: int, b: int) -> io.NodeOutput:
        calls.append(f"add {a} {b}")
        return io.NodeOutput(a + b)


class Show(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        hidden = [io.Hidden.unique_id]
        inputs = [io.AnyType.Input("value")]
        return schema("Show", inputs, [], is_output_node=True, hidden=hidden)

    @classmethod
    def execute(cls, value: Any) -> io.NodeOutput:
        calls.append(f"show {value}")
        assert cls.hidden.prompt is not None
        return io.NodeOutput(ui={"shown": [value], "by": [cls.hidden.unique_id]})


class Total(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema("Total", [io.Int.Input("values")], is_input_list=True)

    @classmethod
    def execute(cls, values: list[int]) -> dict[str, Any]:
        return {"result": (sum(values),)}


class Version(io.ComfyNode):
    value: Any = 0

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema("Version", [])

    @classmethod
    def fingerprint_inputs(cls) -> Any:
        return Version.value

    @classmethod
    def execute(cls) -> io.NodeOutput:
        calls.append("version")
        return io.NodeOutput(1)


class Fail(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema("Fail", [io.AnyType.Input("value"), io.String.Input("how")])

    @classmethod
    def execute(cls, value: Any, how: str) -> io.NodeOutput:
        match how:
            case "memory":
                raise MemoryError
            case "exit":
                raise SystemExit(3)
            case "returns":
                return "nonsense"  # type: ignore[return-value]
        raise ValueError("this node always fails")


class Steps(io.ComfyNode):
    reached = threading.Event()
    go_on = threading.Event()

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema("Steps", [io.Int.Input("steps"), io.Boolean.Input("wait")])

    @classmethod
    def execute(cls, steps: int, wait: bool) -> io.NodeOutput:
        for step in range(steps):
            calls.append(f"step {step}")
            if wait and step == 1:
                cls.reached.set()
                cls.go_on.wait(60)
            context().progress(step + 1, steps, lambda: Image.new("RGB", (2000, 10)))
        return io.NodeOutput(steps)


NODES = by_name([Number, Numbers, Add, Show, Total, Version, Fail, Steps])


class Audience:
    """Keeps what every client would hear."""

    def __init__(self) -> None:
        self.heard: list[tuple[str | None, Event]] = []

    def send(self, event: Event, client_id: str | None) -> None:
        self.heard.append((client_id, event))

    def listens(self, client_id: str | None) -> bool:
        return client_id != "deaf"

    def told(self, *kinds: type) -> list[Any]:
        return [event for _, event in self.heard if isinstance(event, kinds)]


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def adding(a: int = 1, b: int = 2) -> Graph:
    return {
        "1": node("Number", value=a),
        "2": node("Number", value=b),
        "3": node("Add", a=["1", 0], b=["2", 0]),
        "4": node("Show", value=["3", 0]),
        "unused": node("Number", value=50),
    }


def job(graph: Graph, prompt_id: str = "p", client_id: str | None = "c") -> GraphJob:
    verdict = check(graph, NODES)
    assert verdict.error is None, verdict
    extra = {} if client_id is None else {"client_id": client_id}
    return GraphJob(
        number=0,
        prompt_id=prompt_id,
        graph=verdict.graph,
        extra_data=extra,
        outputs=verdict.outputs,
    )


def run(executor: Executor, graph: Graph, **rest: Any) -> Report:
    return executor.run(job(graph, **rest))


@pytest.fixture
def audience() -> Audience:
    return Audience()


@pytest.fixture
def executor(audience: Audience) -> Executor:
    return Executor(lambda: NODES, audience)


def test_runs_what_the_outputs_need_in_order(executor: Executor, audience: Audience) -> None:
    report = run(executor, adding())
    assert calls == ["number 1", "number 2", "add 1 2", "show 3"]
    assert report.success
    assert report.outputs == {"4": {"shown": [3], "by": ["4"]}}
    assert [name for name, _ in report.messages] == [
        "execution_start",
        "execution_cached",
        "execution_success",
    ]
    assert all(data["timestamp"] > 1_600_000_000_000 for _, data in report.messages)
    order = [type(event) for event in audience.told(ExecutionStart, Executed, ExecutionSuccess)]
    assert order == [ExecutionStart, Executed, ExecutionSuccess]
    assert [event.node for event in audience.told(Executing)] == ["1", "2", "3", "4"]


def test_every_node_is_told_to_run_and_to_finish(executor: Executor, audience: Audience) -> None:
    run(executor, adding())
    last = audience.told(ProgressState)[-1]
    assert {each.node_id: each.state for each in last.nodes} == dict.fromkeys("1234", "finished")
    first = audience.told(ProgressState)[0]
    assert [(each.node_id, each.state) for each in first.nodes] == [("1", "running")]


def test_a_chain_of_thousands_is_run_and_told_in_linear_time(
    executor: Executor, audience: Audience
) -> None:
    graph: Graph = {"0": node("Number", value=1)}
    for number in range(1, 3000):
        graph[str(number)] = node("Add", a=[str(number - 1), 0], b=["0", 0])
    graph |= {f"show {number}": node("Show", value=["2999", 0]) for number in range(300)}
    report = run(executor, graph)
    assert report.success
    assert report.outputs["show 299"] == {"shown": [3000], "by": ["show 299"]}
    states = audience.told(ProgressState)
    # A state for each change would name 3,300 nodes 6,600 times.
    assert sum(len(state.nodes) for state in states) < 3300 * 6600 / 10
    assert {each.state for each in states[-1].nodes} == {"finished"}
    assert len(states[-1].nodes) == 3300


def test_a_second_run_is_all_cached(executor: Executor, audience: Audience) -> None:
    run(executor, adding())
    calls.clear()
    audience.heard.clear()
    report = run(executor, adding())
    assert calls == []
    assert audience.told(ExecutionCached)[0].nodes == ("1", "2", "3", "4")
    assert audience.told(Executed)[0].output == {"shown": [3], "by": ["4"]}
    assert audience.told(Executing) == []
    assert report.outputs == {"4": {"shown": [3], "by": ["4"]}}


def test_a_run_that_fails_shows_nothing_of_the_run_before(executor: Executor) -> None:
    run(executor, adding())
    failing = {"0": node("Fail", value=1, how=""), "first": node("Show", value=["0", 0])}
    assert run(executor, {**failing, **adding()}).outputs == {}
    # what was told before the failure counts
    assert run(executor, {**adding(), **failing}).outputs.keys() == {"4"}


def test_only_what_changed_runs_again(executor: Executor) -> None:
    run(executor, adding())
    calls.clear()
    run(executor, adding(b=5))
    assert calls == ["number 5", "add 1 5", "show 6"]


def test_results_of_the_graph_before_the_last_are_gone(executor: Executor) -> None:
    run(executor, adding())
    run(executor, adding(a=7, b=8))
    calls.clear()
    run(executor, adding())
    assert "number 1" in calls


def test_renamed_nodes_are_still_cached(executor: Executor) -> None:
    run(executor, {"1": node("Number", value=1), "2": node("Show", value=["1", 0])})
    calls.clear()
    run(executor, {"9": node("Number", value=1), "2": node("Show", value=["9", 0])})
    assert "number 1" not in calls
    # a node that asks for its own id has a result of its own
    assert calls == []
    run(executor, {"9": node("Number", value=1), "5": node("Show", value=["9", 0])})
    assert calls == ["show 1"]


def test_equal_nodes_of_one_graph_run_once(executor: Executor) -> None:
    report = run(executor, adding(3, 3))
    assert calls == ["number 3", "add 3 3", "show 6"]
    assert report.success


@pytest.mark.parametrize(
    ("value", "again"), [(1, ["version"]), (0, []), (float("nan"), ["version"])]
)
def test_the_fingerprint_decides(executor: Executor, value: Any, again: list[str]) -> None:
    graph = {"1": node("Version"), "2": node("Show", value=["1", 0])}
    run(executor, graph)
    calls.clear()
    Version.value = value
    run(executor, graph)
    assert calls[:1] == again


def test_free_forgets_all(executor: Executor) -> None:
    run(executor, adding())
    executor.free()
    calls.clear()
    run(executor, adding())
    assert len(calls) == 4


def test_lists_run_a_node_once_an_item(executor: Executor) -> None:
    graph = {
        "1": node("Numbers", count=3),
        "2": node("Add", a=["1", 0], b=10),
        "3": node("Total", values=["2", 0]),
        "4": node("Show", value=["2", 0]),
        "5": node("Show", value=["3", 0]),
    }
    report = run(executor, graph)
    assert report.outputs["4"]["shown"] == [10, 11, 12]
    assert report.outputs["5"]["shown"] == [33]


def test_the_last_item_of_a_short_list_repeats(executor: Executor) -> None:
    graph = {
        "1": node("Numbers", count=3),
        "2": node("Numbers", count=2),
        "3": node("Add", a=["1", 0], b=["2", 0]),
        "4": node("Show", value=["3", 0]),
    }
    assert run(executor, graph).outputs["4"]["shown"] == [0, 2, 3]


@pytest.mark.parametrize(
    ("how", "kind", "text"),
    [
        ("raise", "ValueError", "this node always fails"),
        ("exit", "SystemExit", "3"),
        ("returns", "TypeError", "instead of NodeOutput"),
        ("memory", "MemoryError", "smaller batch"),
    ],
)
def test_a_failing_node_is_reported(
    executor: Executor, audience: Audience, how: str, kind: str, text: str
) -> None:
    graph = adding()
    graph["4"]["inputs"]["value"] = ["5", 0]
    graph["5"] = node("Fail", value=["3", 0], how=how)
    report = run(executor, graph)
    assert not report.success
    (error,) = audience.told(ExecutionError)
    assert (error.node_id, error.node_type, error.exception_type) == ("5", "Fail", kind)
    assert text in error.exception_message
    assert error.executed == ("1", "2", "3")
    assert error.current_inputs == {"value": [3], "how": [how]}
    assert [name for name, _ in report.messages][-1] == "execution_error"
    calls.clear()
    assert run(executor, adding()).success
    # after running out of memory nothing is kept
    assert calls == (
        ["show 3"] if how != "memory" else ["number 1", "number 2", "add 1 2", "show 3"]
    )


def test_progress_and_previews(executor: Executor, audience: Audience) -> None:
    run(executor, {"1": node("Steps", steps=3, wait=False), "2": node("Show", value=["1", 0])})
    assert [(event.node, event.value, event.max) for event in audience.told(StepProgress)] == [
        ("1", 1, 3),
        ("1", 2, 3),
        ("1", 3, 3),
    ]
    preview = audience.told(Preview)[0]
    assert (preview.format, preview.node_id, preview.prompt_id) == ("jpeg", "1", "p")
    assert Image.open(BytesIO(preview.image)).size[0] == 512


def test_previews_are_not_made_where_nobody_looks(executor: Executor, audience: Audience) -> None:
    graph = {"1": node("Steps", steps=3, wait=False), "2": node("Show", value=["1", 0])}
    run(executor, graph, client_id="deaf")
    assert audience.told(Preview) == []


def test_without_a_client_only_progress_is_sent(executor: Executor, audience: Audience) -> None:
    report = run(
        executor,
        {"1": node("Steps", steps=1, wait=False), "2": node("Show", value=["1", 0])},
        client_id=None,
    )
    assert {type(event) for _, event in audience.heard} == {ProgressState, StepProgress, Preview}
    assert report.success
    assert report.messages[-1][0] == "execution_success"


def test_interrupt_stops_within_a_step(executor: Executor, audience: Audience) -> None:
    Steps.reached.clear()
    Steps.go_on.clear()
    steps = job({"1": node("Steps", steps=50, wait=True), "2": node("Show", value=["1", 0])})
    reports: list[Report] = []
    thread = threading.Thread(target=lambda: reports.append(executor.run(steps)))
    thread.start()
    assert Steps.reached.wait(60)
    steps.stop.set()
    Steps.go_on.set()
    thread.join(60)
    assert calls == ["step 0", "step 1"]
    (event,) = audience.told(ExecutionInterrupted)
    assert (event.node_id, event.node_type) == ("1", "Steps")
    assert not reports[0].success
    assert reports[0].messages[-1][0] == "execution_interrupted"


def test_a_stop_that_comes_early_is_not_lost(executor: Executor) -> None:
    early = job(adding())
    early.stop.set()
    assert executor.run(early).messages[-1][0] == "execution_interrupted"
    assert calls == []


def test_a_node_outside_a_run_is_not_interrupted() -> None:
    try:
        context().check_interrupted()
    except InterruptedByUser:
        pytest.fail("nobody asked to stop")


def test_the_worker_survives_what_no_node_raised(audience: Audience) -> None:
    done = threading.Event()
    queue = GraphQueue(lambda: done.set() if queue.record("second") else None)
    worker = GraphWorker(queue, lambda: NODES, audience)
    broken = GraphJob(
        number=0,
        prompt_id="first",
        graph={"1": node("NoSuchClass")},
        extra_data={"client_id": "c"},
        outputs=("1",),
    )
    queue.put(broken)
    queue.put(job(adding(), "second"))
    worker.start()
    assert done.wait(60)
    worker.stop()
    assert queue.record("first")["first"]["status"]["status_str"] == "error"
    assert queue.record("second")["second"]["status"]["completed"] is True
    assert [event.prompt_id for event in audience.told(Executing) if event.node is None] == [
        "first",
        "second",
    ]


def waiting(prompt_id: str, number: float) -> GraphJob:
    return GraphJob(number=number, prompt_id=prompt_id, graph={}, extra_data={}, outputs=("1",))


def test_the_queue_runs_low_numbers_first_then_by_id() -> None:
    queue = GraphQueue(lambda: None)
    for prompt_id, number in (("c", 1), ("b", 1), ("a", 2), ("front", -3)):
        queue.put(waiting(prompt_id, number))
    assert [each.prompt_id for each in queue.snapshot()[1]] == ["front", "b", "c", "a"]
    first = queue.take()
    assert first is not None
    assert first.prompt_id == "front"
    queue.delete(["c", "front"])
    assert [each.prompt_id for each in queue.snapshot()[0]] == ["front"]
    assert [each.prompt_id for each in queue.snapshot()[1]] == ["b", "a"]
    queue.clear()
    assert queue.remaining() == 1


def test_interrupt_by_id_stops_only_that_job() -> None:
    queue = GraphQueue(lambda: None)
    queue.put(waiting("runs", 0))
    running = queue.take()
    assert running is not None
    queue.interrupt("another")
    assert not running.stop.is_set()
    queue.interrupt("runs")
    assert running.stop.is_set()


def test_cancelling_takes_out_what_waits_and_stops_what_runs() -> None:
    changes: list[int] = []
    queue = GraphQueue(lambda: changes.append(queue.remaining()))
    for number, prompt_id in enumerate(("runs", "waits", "stays")):
        queue.put(waiting(prompt_id, number))
    running = queue.take()
    assert running is not None
    changes.clear()
    assert queue.cancel("waits")
    assert not queue.cancel("waits")
    assert not running.stop.is_set()
    assert queue.cancel("runs")
    assert queue.cancel("runs"), "as long as it runs the answer is the same"
    assert running.stop.is_set()
    queue.done(running, Report(success=False, outputs={}, meta={}, messages=[]))
    assert not queue.cancel("runs")
    assert not queue.cancel("nobody")
    assert changes == [2, 1], "clients hear of a queue that became shorter"
    _, pending, records = queue.overview()
    assert ([job.prompt_id for job in pending], list(records)) == (["stays"], ["runs"])


def test_history_is_bounded_and_paged() -> None:
    queue = GraphQueue(lambda: None, max_history=3)
    report = Report(success=True, outputs={}, meta={}, messages=[])
    for prompt_id in "abcd":
        queue.done(waiting(prompt_id, 0), report)
    assert list(queue.history()) == ["b", "c", "d"]
    assert list(queue.history(max_items=2)) == ["c", "d"]
    assert list(queue.history(max_items=1, offset=1)) == ["c"]
    queue.delete_history(["c"])
    assert list(queue.history()) == ["b", "d"]
    queue.clear_history()
    assert queue.history() == {}


def test_numbers_count_on_and_the_front_is_negative() -> None:
    queue = GraphQueue(lambda: None)
    assert [queue.take_number(), queue.take_number(front=True), queue.take_number()] == [0, -1, 2]


def test_memory_that_runs_out_on_a_cpu_is_told_from_other_failures() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)  # more than a process can address
    assert is_out_of_memory(caught.value)
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2) @ torch.empty(3)
    assert not is_out_of_memory(caught.value)
