"""What every server owes a client: one suite over the fake, the engine and real ComfyUI.

The fake is worth testing against only as far as it passes what real ComfyUI passes.
"""

from __future__ import annotations

import io
import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket
from PIL import Image

from orchestrator.client.client import Client
from orchestrator.client.timings import Stopwatch
from orchestrator.errors import JobInterrupted, JobRefused, NodeFailed, ResultMissing
from orchestrator.protocol import (
    Event,
    Executing,
    ExecutionCached,
    ExecutionStart,
    ExecutionSuccess,
    FeatureFlags,
    FileRef,
    Graph,
    JobState,
    Preview,
    ProgressState,
    QueueStatus,
    decode_event,
    files_of,
)
from orchestrator.testing import FakeServer

_COLORS = itertools.count(1)
# Newer servers call an unknown class what it is.
_UNKNOWN = {"invalid_prompt", "missing_node_type"}


@pytest.fixture(scope="module")
def fake_url() -> Iterator[str]:
    with FakeServer() as fake:
        # Slow enough for a job to be caught at work.
        fake.pace = 0.02
        yield fake.url


@pytest.fixture(
    params=["fake", "engine", pytest.param("comfyui", marks=pytest.mark.comfyui)], scope="module"
)
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as opened:
        yield opened


def trivial(**inputs: Any) -> Graph:
    """A picture that no test before has asked for."""
    blank = {"width": 8, "height": 6, "batch_size": 1, "color": next(_COLORS), **inputs}
    save = {"images": ["1", 0], "filename_prefix": "c/t"}
    return {
        "1": {"class_type": "EmptyImage", "inputs": blank, "_meta": {"title": "A blank"}},
        "2": {"class_type": "SaveImage", "inputs": save, "_meta": {}},
    }


def slow(nodes: int = 40) -> Graph:
    """A graph of many nodes that each take a moment, so that it can be caught at work."""
    graph = trivial()
    source = "1"
    for number in range(nodes):
        key = f"scale{number}"
        size = 1024 + number % 2
        inputs = {"image": [source, 0], "upscale_method": "lanczos", "crop": "disabled"}
        graph[key] = {
            "class_type": "ImageScale",
            "inputs": {**inputs, "width": size, "height": size},
            "_meta": {},
        }
        source = key
    graph["2"]["inputs"]["images"] = [source, 0]
    return graph


def test_system_stats_tell_what_it_is(client: Client) -> None:
    stats = client.system_stats()
    assert stats.kind in ("comfyui", "spriteworks-engine")
    assert stats.version
    assert stats.device


@pytest.mark.parametrize(
    "route", ["/queue", "/object_info/SaveImage", "/system_stats", "/features"]
)
def test_every_route_answers_under_api_too(url: str, route: str) -> None:
    plain, prefixed = (requests.get(url + path, timeout=30) for path in (route, f"/api{route}"))
    assert plain.status_code == prefixed.status_code == 200
    assert plain.json().keys() == prefixed.json().keys()


def test_object_info_of_all_of_one_and_of_none(client: Client) -> None:
    every = client.object_info()
    assert {"EmptyImage", "LoadImage", "SaveImage", "PreviewImage", "ImageScale"} <= every.keys()
    assert client.object_info("SaveImage") == {"SaveImage": every["SaveImage"]}
    assert client.object_info("NoSuchNode") == {}
    assert every["SaveImage"]["output_node"] is True
    assert every["EmptyImage"]["input"]["required"]["width"][0] == "INT"
    assert every["EmptyImage"]["output"] == ["IMAGE"]


def test_a_run_and_its_picture(client: Client, tmp_path: Path) -> None:
    graph = trivial(batch_size=2)
    extra: dict[str, Any] = {"extra_pnginfo": {"workflow": {"nodes": []}}}
    accepted = client.submit(graph, extra_data=extra)
    assert accepted.problems == ()
    record = client.wait(accepted.prompt_id)
    assert record.state is JobState.SUCCEEDED
    assert record.graph == graph
    files = files_of(record.outputs)
    assert [(node, file.subfolder, file.type) for node, file in files] == [("2", "c", "output")] * 2
    (tmp_path / "picture.png").write_bytes(client.content(files[0][1]))
    with Image.open(tmp_path / "picture.png") as image:
        assert (image.format, image.size) == ("PNG", (8, 6))
        assert json.loads(image.info["prompt"]) == graph
        assert json.loads(image.info["workflow"]) == {"nodes": []}
    assert client.state(accepted.prompt_id) is JobState.SUCCEEDED
    assert accepted.prompt_id not in (*client.queue().running, *client.queue().pending)


def test_events_come_in_their_order(client: Client) -> None:
    events: list[Event] = []
    watch = Stopwatch(graph := trivial())
    watch.submitted()
    job = client.submit(graph)

    def note(event: Event) -> None:
        events.append(event)
        watch.observe(event)

    record = client.wait(job.prompt_id, on_event=note)
    kinds = [type(event) for event in events]
    assert kinds[:2] == [ExecutionStart, ExecutionCached]
    assert kinds[-2:] == [ExecutionSuccess, Executing]
    assert [event.node for event in events if isinstance(event, Executing)] == ["1", "2", None]
    last = [event for event in events if isinstance(event, ProgressState)][-1]
    assert {(node.node_id, node.real_node_id, node.state) for node in last.nodes} == {
        ("1", "1", "finished"),
        ("2", "2", "finished"),
    }
    names = [name for name, _ in record.messages]
    assert names == ["execution_start", "execution_cached", "execution_success"]
    assert all(data["timestamp"] > 1e12 for _, data in record.messages)
    nodes = watch.timings(record).nodes
    assert [(node.id, node.cached, node.seconds is not None) for node in nodes] == [
        ("1", False, True),
        ("2", False, True),
    ]


def test_the_same_again_comes_from_the_cache(client: Client) -> None:
    graph = trivial()
    first = client.wait(client.submit(graph).prompt_id)
    again = client.wait(client.submit(graph).prompt_id)
    cached = again.message("execution_cached")
    assert cached is not None
    assert set(cached["nodes"]) == {"1", "2"}
    assert files_of(again.outputs) == files_of(first.outputs)


def _without_height(graph: Graph) -> None:
    del graph["1"]["inputs"]["height"]


def _half_a_link(graph: Graph) -> None:
    graph["2"]["inputs"]["images"] = ["1"]


def _mask_for_image(graph: Graph) -> None:
    graph["3"] = {"class_type": "LoadImage", "inputs": {"image": "x.png"}}
    graph["2"]["inputs"]["images"] = ["3", 1]


def _unknown_choice(graph: Graph) -> None:
    inputs = {"image": ["1", 0], "upscale_method": "magic", "width": 8, "height": 8}
    graph["3"] = {"class_type": "ImageScale", "inputs": {**inputs, "crop": "disabled"}}
    graph["2"]["inputs"]["images"] = ["3", 0]


def _value(**inputs: Any) -> Callable[[Graph], None]:
    return lambda graph: graph["1"]["inputs"].update(inputs)


@pytest.mark.parametrize(
    ("spoil", "node", "kind"),
    [
        (_value(width=0), "1", "value_smaller_than_min"),
        (_value(width=100_000), "1", "value_bigger_than_max"),
        (_value(width="wide"), "1", "invalid_input_type"),
        (_without_height, "1", "required_input_missing"),
        (_half_a_link, "2", "bad_linked_input"),
        (_mask_for_image, "2", "return_type_mismatch"),
        (_unknown_choice, "3", "value_not_in_list"),
    ],
)
def test_bad_input_is_refused_by_node_and_reason(
    client: Client, spoil: Callable[[Graph], None], node: str, kind: str
) -> None:
    graph = trivial()
    spoil(graph)
    with pytest.raises(JobRefused) as caught:
        client.submit(graph)
    problems = {(problem.node_id, problem.type) for problem in caught.value.problems}
    assert (node, kind) in problems


def test_the_shape_of_a_refusal(url: str) -> None:
    answer = requests.post(f"{url}/prompt", json={"prompt": trivial(width=0)}, timeout=30)
    assert answer.status_code == 400
    body = answer.json()
    assert body["error"].keys() == {"type", "message", "details", "extra_info"}
    assert body["error"]["type"] == "prompt_outputs_failed_validation"
    entry = body["node_errors"]["1"]
    assert entry.keys() == {"errors", "dependent_outputs", "class_type"}
    assert (entry["class_type"], entry["dependent_outputs"]) == ("EmptyImage", ["2"])
    assert entry["errors"][0].keys() == {"type", "message", "details", "extra_info"}


@pytest.mark.parametrize(
    ("body", "kinds"),
    [
        ({}, {"no_prompt"}),
        ({"prompt": {"1": {"class_type": "NoSuchNode", "inputs": {}, "_meta": {}}}}, _UNKNOWN),
        ({"prompt": {"1": trivial()["1"]}}, {"prompt_no_outputs"}),
        ({"prompt": {"1": {"inputs": {}}}}, _UNKNOWN),
        ({"prompt": {}}, {"prompt_no_outputs"}),
    ],
)
def test_what_is_no_job_is_refused(url: str, body: Any, kinds: set[str]) -> None:
    answer = requests.post(f"{url}/prompt", json=body, timeout=30)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] in kinds


def test_a_bad_branch_is_dropped_and_told(client: Client) -> None:
    graph = trivial()
    graph["3"] = {**graph["1"], "inputs": {**graph["1"]["inputs"], "width": 0}}
    graph["4"] = {
        "class_type": "SaveImage",
        "inputs": {"images": ["3", 0], "filename_prefix": "u"},
    }
    accepted = client.submit(graph)
    assert {problem.node_id for problem in accepted.problems} == {"3"}
    record = client.wait(accepted.prompt_id)
    assert {node for node, _ in files_of(record.outputs)} == {"2"}


def test_a_pending_job_is_taken_out_and_a_running_one_stopped(client: Client) -> None:
    first = client.submit(slow())
    second = client.submit(trivial())
    while client.state(first.prompt_id) is JobState.PENDING:
        pass
    assert client.state(second.prompt_id) is JobState.PENDING
    client.cancel(second.prompt_id)
    assert client.state(second.prompt_id) is JobState.UNKNOWN
    assert client.state(first.prompt_id) is JobState.RUNNING
    client.cancel(first.prompt_id)
    with pytest.raises(JobInterrupted):
        client.wait(first.prompt_id)
    # The next one runs as if nothing had been.
    third = client.wait(client.submit(trivial()).prompt_id)
    assert third.state is JobState.SUCCEEDED


def ask_jobs(url: str, path: str = "", **query: str) -> Any:
    """The answer of GET /api/jobs; a skip where the server has no such route."""
    answer = requests.get(f"{url}/api/jobs{path}", params=query, timeout=30)
    if answer.status_code == 404 and "json" not in answer.headers.get("Content-Type", ""):
        pytest.skip("this server has no /api/jobs")
    return answer.json()


def cancel_job(url: str, path: str, body: Any = None) -> requests.Response:
    """The answer to cancelling; a skip where the server has no such route."""
    answer = requests.post(f"{url}/api/jobs/{path}", json=body, timeout=30)
    if answer.status_code in (404, 405):
        pytest.skip("this server cannot cancel a job by its id alone")
    return answer


def test_a_job_is_cancelled_by_its_id_wherever_it_is(client: Client, url: str) -> None:
    cancel_job(url, f"{uuid.uuid4()}/cancel")
    events: list[Event] = []
    running, waiting = client.submit(slow()).prompt_id, client.submit(trivial()).prompt_id
    while client.state(running) is not JobState.RUNNING:
        pass
    found = {job["id"]: job for job in ask_jobs(url, status="pending,in_progress")["jobs"]}
    assert found[running]["status"] == "in_progress"
    assert found[waiting]["status"] == "pending"
    assert found[running]["create_time"] <= found[waiting]["create_time"]
    for expected in (True, False):
        assert cancel_job(url, f"{waiting}/cancel").json() == {"cancelled": expected}
    assert client.state(waiting) is JobState.UNKNOWN
    assert cancel_job(url, f"{running}/cancel").json() == {"cancelled": True}
    with pytest.raises(JobInterrupted):
        client.wait(running, on_event=events.append)
    assert not any(isinstance(event, ExecutionSuccess) for event in events)
    assert cancel_job(url, f"{running}/cancel").json() == {"cancelled": False}
    assert ask_jobs(url, f"/{running}")["status"] == "cancelled"
    # The next one runs as if nothing had been.
    assert client.wait(client.submit(trivial()).prompt_id).state is JobState.SUCCEEDED


def test_several_jobs_are_cancelled_at_once(client: Client, url: str) -> None:
    nobody = str(uuid.uuid4())
    assert cancel_job(url, "cancel", {"job_ids": [nobody]}).json() == {"cancelled": False}
    first = client.submit(slow()).prompt_id
    others = [client.submit(trivial()).prompt_id for _ in range(3)]
    while client.state(first) is not JobState.RUNNING:
        pass
    answer = cancel_job(url, "cancel", {"job_ids": [nobody, *others, "word", 7]})
    assert answer.status_code == 400
    assert answer.json()["invalid_ids"] == ["word", "7"]
    assert client.state(others[0]) is JobState.PENDING, "one bad id, and nothing is cancelled"
    answer = cancel_job(url, "cancel", {"job_ids": [others[0], nobody, first, others[2]]})
    assert answer.json() == {"cancelled": True}
    with pytest.raises(JobInterrupted):
        client.wait(first)
    assert client.wait(others[1]).state is JobState.SUCCEEDED
    assert {client.state(others[0]), client.state(others[2])} == {JobState.UNKNOWN}


def test_a_job_that_is_over_tells_how_it_ended(client: Client, url: str) -> None:
    extra = {"extra_pnginfo": {"workflow": {"id": (mark := str(uuid.uuid4())), "nodes": []}}}
    graph = trivial(batch_size=2)
    job = client.submit(graph, extra_data=extra).prompt_id
    record = client.wait(job)
    (listed,) = ask_jobs(url, workflow_id=mark)["jobs"]
    whole = ask_jobs(url, f"/{job}")
    assert listed.items() <= whole.items()
    assert (listed["id"], listed["status"], listed["outputs_count"]) == (job, "completed", 2)
    assert listed["preview_output"]["nodeId"] == "2"
    assert listed["create_time"] <= listed["execution_start_time"] <= listed["execution_end_time"]
    assert (whole["outputs"], whole["workflow"]["prompt"]) == (record.outputs, graph)
    answer = requests.get(f"{url}/api/jobs/{uuid.uuid4()}", timeout=30)
    assert (answer.status_code, list(answer.json())) == (404, ["error"])
    page = ask_jobs(url, workflow_id=mark, limit="1", offset="1")
    assert page == {
        "jobs": [],
        "pagination": {"offset": 1, "limit": 1, "total": 1, "has_more": False},
    }


@pytest.mark.parametrize(
    "wrong",
    ["word", "6F9619FF-8B86-4D11-B42D-00C04FC964FF", "6f9619ff8b864d11b42d00c04fc964ff"],
    ids=["word", "upper", "hex"],
)
def test_an_id_that_is_no_canonical_uuid_is_refused(url: str, wrong: str) -> None:
    body = {"prompt": trivial(), "prompt_id": wrong}
    answer = requests.post(f"{url}/prompt", json=body, timeout=30)
    if answer.status_code == 200:
        pytest.skip("this server takes any text for an id")
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_prompt_id"


def test_another_jobs_id_interrupts_nothing(client: Client) -> None:
    job = client.submit(slow(5))
    client.interrupt(str(uuid.uuid4()))
    assert client.wait(job.prompt_id).state is JobState.SUCCEEDED


def test_uploads_keep_their_name_unless_it_is_taken(client: Client, tmp_path: Path) -> None:
    name = f"{uuid.uuid4().hex}.png"
    path = tmp_path / name
    Image.new("RGB", (5, 4), (250, 10, 20)).save(path)
    assert client.upload(path) == FileRef(filename=name, type="input")
    assert client.upload(path).filename == name
    Image.new("RGB", (5, 4), (0, 0, 0)).save(path)
    other = client.upload(path).filename
    assert other == name.replace(".png", " (1).png")


def test_an_uploaded_picture_can_be_used(client: Client, tmp_path: Path) -> None:
    path = tmp_path / f"{uuid.uuid4().hex}.png"
    Image.new("RGB", (5, 4), (250, 10, 20)).save(path)
    uploaded = client.upload(path)
    graph = trivial()
    graph["1"] = {"class_type": "LoadImage", "inputs": {"image": uploaded.filename}}
    record = client.wait(client.submit(graph).prompt_id)
    assert record.state is JobState.SUCCEEDED


def test_a_file_that_is_not_there(client: Client, url: str) -> None:
    with pytest.raises(ResultMissing):
        client.content(FileRef(filename="nothing.png"))
    for name in ("../secret.png", "/etc/passwd"):
        query = {"filename": name, "type": "output"}
        answer = requests.get(f"{url}/view", params=query, timeout=30)
        assert answer.status_code in (400, 403, 404)


def test_an_unknown_job_has_no_history(client: Client) -> None:
    nobody = str(uuid.uuid4())
    assert client.history(nobody) is None
    assert client.state(nobody) is JobState.UNKNOWN


def test_memory_can_be_freed(client: Client) -> None:
    client.free()
    assert client.wait(client.submit(trivial()).prompt_id).state is JobState.SUCCEEDED


def test_the_first_words_on_the_websocket(url: str) -> None:
    client_id = uuid.uuid4().hex
    address = url.replace("http", "ws", 1) + f"/ws?clientId={client_id}"
    socket = websocket.create_connection(address, timeout=10, suppress_origin=True)
    try:
        first = decode_event(socket.recv())
        assert isinstance(first, QueueStatus)
        assert first.sid == client_id
        hello = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}
        socket.send(json.dumps(hello))
        while not isinstance(answer := decode_event(socket.recv()), FeatureFlags):
            pass
        assert answer.data["supports_preview_metadata"] is True
    finally:
        socket.close()


def test_the_view_is_a_png(client: Client, url: str) -> None:
    record = client.wait(client.submit(trivial()).prompt_id)
    ((_, file),) = files_of(record.outputs)
    answer = requests.get(f"{url}/view", params=file.to_json(), timeout=30)
    assert answer.headers["Content-Type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.size == (8, 6)


def test_a_node_that_raises_is_named(client: Client, tmp_path: Path) -> None:
    path = tmp_path / f"{uuid.uuid4().hex}.png"
    path.write_bytes(b"no picture at all")
    graph = trivial()
    graph["1"] = {
        "class_type": "LoadImage",
        "inputs": {"image": client.upload(path).filename},
    }
    job = client.submit(graph)
    with pytest.raises(NodeFailed) as caught:
        client.wait(job.prompt_id)
    assert (caught.value.node_id, caught.value.class_type) == ("1", "LoadImage")
    assert caught.value.kind
    record = client.history(job.prompt_id)
    assert record is not None
    assert record.state is JobState.FAILED
    assert files_of(record.outputs) == []


def test_pictures_over_the_websocket_name_their_node(client: Client) -> None:
    if not client.object_info("SaveImageWebsocket"):
        pytest.skip("this server has no SaveImageWebsocket")
    graph = trivial(batch_size=2)
    graph["2"] = {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}}
    frames: list[Preview] = []

    def note(event: Event) -> None:
        if isinstance(event, Preview):
            frames.append(event)

    job = client.submit(graph)
    record = client.wait(job.prompt_id, on_event=note)
    assert files_of(record.outputs) == []
    assert [(frame.node_id, frame.format) for frame in frames] == [("2", "png")] * 2
    with Image.open(io.BytesIO(frames[0].image)) as image:
        assert image.size == (8, 6)
