"""Whatever JSON a server sends, it is read or it is a ProtocolError, and nothing else happens."""

from __future__ import annotations

import copy
import json
import random
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.client.client import raise_for_state
from orchestrator.client.timings import Stopwatch, ran_seconds
from orchestrator.errors import GraphError, JobError, ProtocolError, SpriteworksError
from orchestrator.memory import phases_of, reports_in
from orchestrator.protocol import (
    Executed,
    FileRef,
    Graph,
    HistoryRecord,
    PromptAccepted,
    PromptRequest,
    QueueState,
    SystemStats,
    decode_event,
    decode_json,
    files_of,
    read_job_ids,
    read_node_errors,
    read_refusal,
    refused_ids,
    sheet_files_of,
)
from orchestrator.workflow.catalogue import Catalogue
from orchestrator.workflow.checking import validate

DATA = Path(__file__).resolve().parent.parent / "data" / "comfyui"
RECORDED = {name: json.loads((DATA / f"{name}.json").read_text()) for name in ("http", "runs")}
INFO = json.loads((DATA / "object_info.json").read_text())

SCALARS = [
    None,
    True,
    False,
    0,
    -1,
    1e308,
    10**400,
    -(10**400),
    2**63,
    float("nan"),
    float("inf"),
    float("-inf"),
    "",
    "no number",
    "\0",
    "../../x",
    "ü" * 5000,
    [],
    {},
    [[[[]]]],
    [None],
    {"": None},
    {"filename": 5},
    [1, 2, 3],
    {"name": ["x"], "inputs": 3},
]
ODD = st.recursive(
    st.sampled_from(SCALARS) | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
).map(copy.deepcopy)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything in a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in list(items):
        yield value, key
        if isinstance(child, dict | list):
            yield from places(child)


@st.composite
def damaged(draw: st.DrawFn, sources: list[Any]) -> Any:
    """A recorded value with up to three of its parts replaced or gone."""
    value = copy.deepcopy(draw(st.sampled_from(sources)))
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(value))
        if not found:
            return draw(ODD)
        container, key = found[draw(st.integers(0, len(found) - 1))]
        if isinstance(container, dict) and draw(st.booleans()):
            del container[key]
        else:
            container[key] = draw(ODD)
    return value


def only_protocol_errors(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except ProtocolError:
        return None


RUNS = RECORDED["runs"]["runs"]
RECORDS = [(name, run["history"][name]) for name, run in RUNS.items() if run.get("history")]
EVENTS = [event for run in RUNS.values() for event in run["events"]]


def test_there_are_records_and_events_to_damage() -> None:
    assert len(RECORDS) > 2
    assert len(EVENTS) > 20
    for name, record in RECORDS:
        assert HistoryRecord.from_json(record["prompt"][1], record), name
    for event in EVENTS:
        decode_event(json.dumps(event))


def look_at_all(record: HistoryRecord) -> None:
    """Do with a record what is done with one; JobError is what it may tell."""
    with suppress(JobError):
        raise_for_state(record)
    seconds = ran_seconds(record)
    assert seconds is None or 0 <= seconds < 1e12
    json.dumps(Stopwatch({}).timings(record).to_json(), allow_nan=False)
    only_protocol_errors(lambda: files_of(record.outputs))
    only_protocol_errors(lambda: sheet_files_of(record.outputs))
    reports_in(record.outputs)
    record.message("execution_start")


@given(ODD | damaged([record for _, record in RECORDS]))
def test_a_history_record(body: Any) -> None:
    for prompt_id in (RECORDS[0][1]["prompt"][1], "failed", "x"):
        record = only_protocol_errors(lambda given=prompt_id: HistoryRecord.from_json(given, body))
        if record is not None:
            look_at_all(record)


def test_the_record_of_another_job_is_none_of_ours() -> None:
    _, record = RECORDS[0]
    with pytest.raises(ProtocolError):
        HistoryRecord.from_json("another", record)


@given(ODD | damaged(EVENTS))
def test_an_event(message: Any) -> None:
    event = only_protocol_errors(lambda: decode_event(json.dumps(message)))
    if event is not None:
        Stopwatch({"1": {"class_type": "X", "inputs": {}}}).observe(event)
        hash(getattr(event, "prompt_id", None))
        hash(getattr(event, "node", None))
    if isinstance(event, Executed) and event.output:
        only_protocol_errors(lambda: files_of({"1": event.output}))


@given(st.binary(max_size=64), st.integers(0, 6), ODD)
def test_a_binary_event(rest: bytes, number: int, head: Any) -> None:
    text = json.dumps(head).encode()
    for frame in (
        rest,
        struct.pack(">I", number) + rest,
        struct.pack(">II", number, len(text)) + text + rest,
        struct.pack(">II", number, 2**32 - 1) + text,
    ):
        only_protocol_errors(lambda given=frame: decode_event(given))


@pytest.mark.parametrize("name", ["image/../../x", "image/" + "a" * 50, "image/", [5]])
def test_a_preview_of_an_odd_type_is_none(name: Any) -> None:
    """The type becomes the ending of a file's name."""
    head = json.dumps({"image_type": name}).encode()
    with pytest.raises(ProtocolError):
        decode_event(struct.pack(">II", 4, len(head)) + head + b"x")


@given(ODD | damaged([RECORDED["runs"]["queue"]]))
def test_a_queue(body: Any) -> None:
    only_protocol_errors(lambda: QueueState.from_json(body))


STATS = {
    "system": {"comfyui_version": "0.33.0", "ram_total": 5, "ram_free": 3},
    "devices": [{"name": "cpu", "type": "cpu", "vram_total": 5, "torch_vram_total": 1}],
}
ACCEPTED = {
    "prompt_id": "x",
    "number": 3,
    "node_errors": {"1": {"class_type": "X", "errors": [{}]}},
}
REFUSED = {"error": {"type": "t", "message": "m", "details": "d"}, **ACCEPTED}


@given(ODD | damaged([STATS, ACCEPTED, REFUSED, {"filename": "x", "subfolder": "", "type": "t"}]))
def test_all_other_answers(body: Any) -> None:
    stats = only_protocol_errors(lambda: SystemStats.from_json(body))
    if stats is not None:
        assert abs(stats.vram_total) <= 2**63
    for read in (
        PromptAccepted.from_json,
        PromptRequest.from_json,
        FileRef.from_json,
        read_node_errors,
        read_refusal,
        read_job_ids,
    ):
        only_protocol_errors(lambda given=read: given(body))
    if isinstance(body, list):
        refused_ids(body)


# ------------------------------------------------------------------------------ node classes


@given(ODD | damaged([{name: INFO[name]} for name in sorted(INFO)]))
def test_node_classes(body: Any) -> None:
    if not isinstance(body, dict):
        return
    catalogue = Catalogue({"SaveImage": INFO["SaveImage"], **body})
    save = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
    for name in catalogue:
        found = only_protocol_errors(lambda given=name: catalogue.node_class(given))
        if found is None:
            continue
        inputs = dict.fromkeys(found.by_name, "1") | {"seed": 1, "y": ["1", 0]}
        graph: Graph = {"1": {"class_type": name, "inputs": inputs}, "2": save}
        if only_protocol_errors(lambda: catalogue.node_class("SaveImage")) is None:
            continue
        phases_of(graph, catalogue)
        with suppress(GraphError):
            validate(graph, catalogue)
        for each in (*found.inputs, *found.inputs_of({}).values(), *found.widgets):
            for what in dir(type(each)):
                if isinstance(getattr(type(each), what), property):
                    getattr(each, what)
            each.branch("a")
            list(each.grown())
        assert (found.by_name, found.is_dynamic, found.prompts, found.model_inputs) is not None
        found.treats_singly({})
        found.offers({"a": 1})


# ------------------------------------------------------------------------------ JSON itself

NESTED = [
    b"[" * 200_000,
    b"[" * 200_000 + b"]" * 200_000,
    b'{"a":' * 200_000,
    b"[" * 300 + b"]" * 300,
]


@pytest.mark.parametrize(
    "data",
    [
        *NESTED,
        b"9" * 5000,
        b"-" + b"9" * 100_000,
        b"\xff\xfe{}",
        '{"a": 1}'.encode("utf-16"),
        b'"\\ud800"',
        b'{"\\uDfff": 1}',
        b'"\xed\xa0\x80"',
        b"",
        b"{",
        b"<html>",
        b"nul",
        b'{"a": 1} {"b": 2}',
        b"\0" * 1000,
    ],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_no_json_or_abusive(data: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_json(data, "its answer")
    assert str(caught.value).startswith("its answer is ")
    assert len(str(caught.value)) < 1000
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    with pytest.raises(ProtocolError):
        decode_event(text)


def test_what_is_unusual_and_sound() -> None:
    assert decode_json(b'\xef\xbb\xbf{"a": [1]}') == {"a": [1]}
    assert decode_json('"\\ud83d\\ude00"') == "😀"
    assert decode_json(b"[NaN, Infinity]")[1] == float("inf")
    deep = b"[" * 100 + b"]" * 100
    assert decode_json(deep + b" " * 10) == json.loads(deep)
    wide = json.dumps({str(number): [[number]] for number in range(1000)})
    assert decode_json(wide)["7"] == [[7]]
    assert decode_json(b'"' + b"[" * 1000 + b'"') == "[" * 1000


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    only_protocol_errors(lambda: decode_json(data))


def test_pieces_of_recordings() -> None:
    """Half answers, and such with single bytes changed."""
    chance = random.Random(5)
    whole = json.dumps(RECORDED["runs"]).encode()[:4000]
    for _ in range(300):
        data = bytearray(whole[: chance.randrange(len(whole))])
        for _ in range(3):
            if data:
                data[chance.randrange(len(data))] = chance.randrange(256)
        with pytest.raises(SpriteworksError):
            decode_json(bytes(data))
