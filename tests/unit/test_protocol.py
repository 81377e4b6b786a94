"""Frames and bodies: what is encoded is decoded again, and bad ones are errors, not tracebacks."""

from __future__ import annotations

import json
import struct

import pytest

from orchestrator import protocol
from orchestrator.errors import ProtocolError

EVENTS = [
    protocol.QueueStatus(queue_remaining=2, sid="abc"),
    protocol.QueueStatus(queue_remaining=0),
    protocol.ExecutionStart(prompt_id="p", timestamp=5),
    protocol.ExecutionCached(prompt_id="p", nodes=("1", "2"), timestamp=5),
    protocol.Executing(prompt_id="p", node="3", display_node="3"),
    protocol.Executing(prompt_id="p", node=None),
    protocol.StepProgress(prompt_id="p", node="3", value=4, max=20),
    protocol.ProgressState(
        prompt_id="p",
        nodes=(
            protocol.NodeProgress(node_id="3", state="running", value=1, max=2),
            protocol.NodeProgress(node_id="4.0.1", state="finished", real_node_id="4"),
        ),
    ),
    protocol.Executed(prompt_id="p", node="9", output={"images": []}, display_node="9"),
    protocol.Executed(prompt_id="p", node="9", output=None),
    protocol.ExecutionSuccess(prompt_id="p", timestamp=9),
    protocol.ExecutionError(
        prompt_id="p",
        node_id="3",
        node_type="KSampler",
        exception_message="no",
        exception_type="ValueError",
        traceback=("line",),
        executed=("1",),
        current_inputs={"steps": [20]},
    ),
    protocol.ExecutionInterrupted(prompt_id="p", node_id="3", node_type="KSampler"),
    protocol.FeatureFlags(data={"supports_preview_metadata": True}),
    protocol.Text(node_id="7", text="grün"),
    protocol.Unknown(type="assets_changed", data={"x": 1}),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_survives_the_wire(event: protocol.Event) -> None:
    assert protocol.decode_event(protocol.encode_event(event)) == event


@pytest.mark.parametrize("metadata", [True, False])
def test_a_preview_survives_the_wire(metadata: bool) -> None:
    event = protocol.Preview(format="png", image=b"\x89PNG", prompt_id="p", node_id="3")
    got = protocol.decode_event(protocol.encode_event(event, preview_metadata=metadata))
    assert isinstance(got, protocol.Preview)
    assert (got.format, got.image) == ("png", b"\x89PNG")
    assert got.prompt_id == ("p" if metadata else None)


@pytest.mark.parametrize(
    "frame",
    ["", "{", "[]", '{"data": {}}', '{"type": "progress_state", "data": {}}', b"", b"\0\0\0\1"],
)
def test_a_malformed_frame_is_a_protocol_error(frame: str | bytes) -> None:
    with pytest.raises(ProtocolError):
        protocol.decode_event(frame)


def test_an_unknown_binary_event_is_kept() -> None:
    frame = struct.pack(">I", 77) + b"x"
    assert protocol.decode_event(frame) == protocol.Unknown(type="binary 77", data=frame)


def test_an_event_without_prompt_id_belongs_to_no_job() -> None:
    # After a reconnect ComfyUI sends the current node without the id of its run.
    event = protocol.decode_event('{"type": "executing", "data": {"node": "3"}}')
    assert event == protocol.Executing(prompt_id="", node="3")


def record(status: str | None, *events: str) -> dict[str, object]:
    messages = [[name, {"prompt_id": "p", "timestamp": 1}] for name in events]
    entry: dict[str, object] = {"prompt": [0, "p", {"1": {}}, {}, ["1"]], "outputs": {}}
    if status:
        entry["status"] = {"status_str": status, "completed": True, "messages": messages}
    return entry


@pytest.mark.parametrize(
    ("body", "state"),
    [
        (record("success", "execution_success"), protocol.JobState.SUCCEEDED),
        (record("error", "execution_error"), protocol.JobState.FAILED),
        (record("error", "execution_interrupted"), protocol.JobState.INTERRUPTED),
        (record(None), protocol.JobState.SUCCEEDED),
    ],
)
def test_the_state_of_a_history_record(body: object, state: protocol.JobState) -> None:
    assert protocol.HistoryRecord.from_json("p", body).state is state


@pytest.mark.parametrize("body", [None, [], {}, {"prompt": []}, "text"])
def test_an_unreadable_history_record(body: object) -> None:
    with pytest.raises(ProtocolError):
        protocol.HistoryRecord.from_json("p", body)


def test_pending_jobs_come_in_the_order_in_which_they_run() -> None:
    body = {
        "queue_running": [[1, "a", {}, {}, []]],
        "queue_pending": [[9, "d", {}, {}, []], [2, "c", {}, {}, []], [2, "b", {}, {}, []]],
    }
    state = protocol.QueueState.from_json(body)
    assert state == protocol.QueueState(running=("a",), pending=("b", "c", "d"))


def test_files_of_every_output_kind() -> None:
    outputs = {
        "9": {"images": [{"filename": "a.png", "subfolder": "x", "type": "output"}]},
        "10": {"text": ["no file"], "gifs": [{"filename": "b.gif"}]},
        "11": None,
    }
    assert protocol.files_of(outputs) == [
        ("9", protocol.FileRef(filename="a.png", subfolder="x")),
        ("10", protocol.FileRef(filename="b.gif")),
    ]


def test_a_refusal_is_read_whole() -> None:
    body = {
        "error": {"type": "t", "message": "Prompt outputs failed validation", "details": "all"},
        "node_errors": {
            "3": {
                "errors": [{"type": "value_not_in_list", "message": "m", "details": "d"}],
                "class_type": "KSampler",
                "dependent_outputs": ["9"],
            }
        },
    }
    message, problems = protocol.read_refusal(body)
    assert message == "Prompt outputs failed validation"
    assert [str(problem) for problem in problems] == ["node 3 (KSampler): m: d"]


def test_a_minted_id_is_canonical() -> None:
    assert protocol.is_prompt_id(protocol.new_prompt_id())
    assert not protocol.is_prompt_id("3F2504E0-4F89-11D3-9A0C-0305E82C3301")


def test_a_request_survives_the_wire() -> None:
    request = protocol.PromptRequest(
        graph={"1": {"class_type": "A", "inputs": {}, "_meta": {"title": "An A"}}},
        prompt_id="p",
        client_id="c",
        front=True,
    )
    body = json.loads(json.dumps(request.to_json()))
    assert protocol.PromptRequest.from_json(body) == request


def test_every_node_is_sent_with_a_meta_and_no_title_is_made_up() -> None:
    node = {"class_type": "A", "inputs": {}}
    graph = {"1": node, "2": {**node, "_meta": None}, "3": {**node, "_meta": {"title": "Mine"}}}
    sent = protocol.PromptRequest(graph=graph).to_json()["prompt"]
    assert [sent[key]["_meta"] for key in "123"] == [{}, {}, {"title": "Mine"}]
    assert "_meta" not in graph["1"], "the caller's graph stays as it was"


def test_extra_data_of_another_kind_is_refused() -> None:
    with pytest.raises(ProtocolError, match="extra_data"):
        protocol.PromptRequest.from_json({"prompt": {}, "extra_data": 5})
