"""The engine as a server: a real uvicorn, real HTTP and WebSocket clients, ComfyUI's recordings."""

from __future__ import annotations

import copy
import importlib.util
import io as bytes_io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import requests
import uvicorn
import websocket
from PIL import Image
from starlette.testclient import TestClient

from orchestrator.addresses import listen
from orchestrator.engine.folders import Folders
from orchestrator.engine.host import context, io
from orchestrator.engine.serving.registry import NodeRegistry, engine_nodes
from orchestrator.engine.serving.server import Engine, create_app
from orchestrator.patience import protocol
from orchestrator.protocol import (
    Event,
    Executed,
    Executing,
    ExecutionCached,
    ExecutionInterrupted,
    FeatureFlags,
    HistoryRecord,
    JobState,
    Preview,
    QueueState,
    QueueStatus,
    StepProgress,
    SystemStats,
    decode_event,
    encode_event,
)

DATA = Path(__file__).resolve().parents[1] / "data"


def recorded(name: str) -> Any:
    return json.loads((DATA / "comfyui" / f"{name}.json").read_text(encoding="utf-8"))


def _load_recorder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("record_comfyui", DATA / "record_comfyui.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


recorder = _load_recorder()
job_id: Callable[[str], str] = recorder.job_id


class Slow(io.ComfyNode):
    """Waits in its second step until it is let go on."""

    reached = threading.Event()
    go_on = threading.Event()

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            "Slow", inputs=[io.Int.Input("tag")], outputs=[io.Image.Output()], not_idempotent=True
        )

    @classmethod
    def execute(cls, tag: int) -> io.NodeOutput:
        import torch

        for step in range(5):
            if step == 1:
                cls.reached.set()
                assert cls.go_on.wait(60)
            context().progress(step + 1, 5, Image.new("RGB", (8, 8), "red"))
        return io.NodeOutput(torch.zeros(1, 8, 8, 3))


class Server:
    """An engine that serves in a thread."""

    def __init__(self, folders: Folders) -> None:
        self.folders = folders
        folders.create()
        self.engine = Engine(folders, NodeRegistry(lambda: [*engine_nodes(), Slow]))
        self._socket = listen("127.0.0.1", 0, "the test")
        config = uvicorn.Config(
            create_app(self.engine), log_level="warning", log_config=None, http=protocol()
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=lambda: self._server.run(sockets=[self._socket]), daemon=True
        )
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.url = f"http://{self.address}"

    def start(self) -> None:
        self._socket.listen()
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(30)
        self._socket.close()

    def get(self, path: str, **rest: Any) -> requests.Response:
        return requests.get(f"{self.url}{path}", timeout=60, **rest)

    def post(self, path: str, body: Any = None, **rest: Any) -> requests.Response:
        return requests.post(f"{self.url}{path}", json=body, timeout=60, **rest)

    def prompt(self, graph: Any, name: str, client: str | None = "tester") -> Any:
        """Send a graph as the job of that name."""
        body = {"prompt": graph, "prompt_id": job_id(name)}
        if client is not None:
            body["client_id"] = client
        answer = self.post("/prompt", body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def record(self, name: str) -> HistoryRecord:
        body = self.get(f"/history/{job_id(name)}").json()
        return HistoryRecord.from_json(job_id(name), body[job_id(name)])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("engine")
    (root / "models" / "embeddings").mkdir(parents=True)
    (root / "models" / "embeddings" / "pixel.safetensors").write_bytes(b"")
    server = Server(
        Folders(
            input=root / "input",
            output=root / "output",
            temp=root / "temp",
            model_roots=[root / "models"],
        )
    )
    server.start()
    yield server
    Slow.go_on.set()
    server.stop()


class Client:
    """A WebSocket client that keeps every event."""

    def __init__(self, server: Server, client_id: str = "tester", *, flags: bool = False) -> None:
        url = f"ws://{server.address}/ws?clientId={client_id}"
        self.socket = websocket.create_connection(url, timeout=60)
        self.events: list[Event] = []
        self.frames: list[str | bytes] = []
        if flags:
            flag = FeatureFlags(data={"supports_preview_metadata": True})
            self.socket.send(encode_event(flag))
            self.until(lambda event: isinstance(event, FeatureFlags))

    def until(self, wanted: Callable[[Event], bool]) -> Event:
        while True:
            frame = self.socket.recv()
            event = decode_event(frame)
            self.frames.append(frame)
            self.events.append(event)
            if wanted(event):
                return event

    def until_over(self, name: str) -> None:
        prompt_id = job_id(name)
        self.until(
            lambda event: (
                isinstance(event, Executing) and event.prompt_id == prompt_id and event.node is None
            )
        )

    def told(self, *kinds: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kinds)]


@contextmanager
def connected(server: Server, client_id: str = "tester", **rest: Any) -> Iterator[Client]:
    client = Client(server, client_id, **rest)
    try:
        yield client
    finally:
        client.socket.close()


def slow_graph(tag: int) -> dict[str, Any]:
    Slow.reached.clear()
    Slow.go_on.clear()
    return {
        "1": {"class_type": "Slow", "inputs": {"tag": tag}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }


def png(color: Any, mode: str = "RGB") -> bytes:
    buffer = bytes_io.BytesIO()
    Image.new(mode, (8, 8), color).save(buffer, "PNG")
    return buffer.getvalue()


# ------------------------------------------------------------------ runs, as recorded


def upload(server: Server, name: str, content: bytes, route: str = "image", **fields: str) -> Any:
    return requests.post(
        f"{server.url}/upload/{route}", files={"image": (name, content)}, data=fields, timeout=60
    )


@pytest.fixture(scope="module")
def runs(server: Server) -> dict[str, Any]:
    """The runs of the recording, played on the engine."""
    upload(server, "red.png", png("red"))
    upload(server, "broken.png", b"this is no picture")
    plan = {
        "first": recorder.picture_graph(),
        "same_again": recorder.picture_graph(),
        "one_changed": recorder.picture_graph(24),
        "loaded": recorder.load_graph("red.png"),
        "failed": recorder.load_graph("broken.png"),
    }
    played = {}
    for name, graph in plan.items():
        with connected(server, "recorder") as client:
            server.prompt(graph, name, "recorder")
            client.until_over(name)
            events = [json.loads(frame) for frame in client.frames if isinstance(frame, str)]
        played[name] = {"events": events, "history": server.get(f"/history/{job_id(name)}").json()}
    return played


@pytest.mark.parametrize("name", ["first", "same_again", "one_changed", "loaded", "failed"])
def test_the_events_are_comfyuis(name: str, runs: dict[str, Any]) -> None:
    theirs = recorded("runs")["runs"][name]["events"]
    ours = recorder.reduced(runs[name]["events"])
    assert [event["type"] for event in ours] == [event["type"] for event in theirs]
    for mine, real in zip(ours, theirs, strict=True):
        if mine["type"] == "execution_error":
            # a class name of Pillow is not the protocol's
            for event in (mine, real):
                event["data"]["exception_type"] = ""
        assert mine == real


@pytest.mark.parametrize("name", ["first", "same_again", "one_changed", "loaded", "failed"])
def test_the_history_record_is_comfyuis(name: str, runs: dict[str, Any]) -> None:
    theirs = recorded("runs")["runs"][name]["history"][name]
    ours = recorder.reduced(runs[name]["history"])[name]
    for record in (ours, theirs):
        record["prompt"][0] = 0
        for event, data in record["status"]["messages"]:
            if event == "execution_error":
                data["exception_type"] = ""
    assert ours == theirs


def test_a_plain_client_gets_its_picture(server: Server) -> None:
    with connected(server) as client:
        posted = server.prompt(recorder.picture_graph(color=7), "plain")
        expected = {"prompt_id": job_id("plain"), "number": posted["number"], "node_errors": {}}
        assert posted == expected
        client.until_over("plain")
    record = server.record("plain")
    assert record.state is JobState.SUCCEEDED
    image = record.outputs["3"]["images"][0]
    picture = Image.open(bytes_io.BytesIO(server.get("/view", params=image).content))
    assert picture.size == (16, 16)
    assert json.loads(picture.text["prompt"])["1"]["class_type"] == "EmptyImage"  # type: ignore[attr-defined]


def test_a_run_without_a_client_is_heard_in_progress_only(server: Server) -> None:
    theirs = recorded("runs")["runs"]["without_client"]["events"]
    with connected(server, "bystander") as client:
        server.prompt(recorder.picture_graph(40), "without_client", client=None)
        client.until(
            lambda event: (
                isinstance(event, QueueStatus)
                and event.queue_remaining == 0
                and len(client.events) > 1
            )
        )
        names = {json.loads(frame)["type"] for frame in client.frames}
    assert names == {event["type"] for event in theirs}
    assert server.record("without_client").state is JobState.SUCCEEDED


# ------------------------------------------------------------------ queue and interruption


def test_interrupt_delete_and_the_queue(server: Server) -> None:
    with connected(server) as client:
        server.prompt(slow_graph(1), "running")
        server.prompt(recorder.picture_graph(33), "waiting")
        assert Slow.reached.wait(60)
        state = server.get("/queue").json()
        assert QueueState.from_json(state).running == (job_id("running"),)
        assert QueueState.from_json(state).pending == (job_id("waiting"),)
        assert len(state["queue_running"][0]) == 5
        assert server.get(f"/history/{job_id('waiting')}").json() == {}
        assert server.post("/queue", {"delete": [job_id("waiting")]}).status_code == 200
        assert server.post("/interrupt", {"prompt_id": job_id("another")}).status_code == 200
        server.post("/interrupt", {"prompt_id": job_id("running")})
        Slow.go_on.set()
        client.until_over("running")
        (event,) = client.told(ExecutionInterrupted)
        assert event.node_id == "1"
        # not one step more
        assert [each.value for each in client.told(StepProgress)] == [1]
    assert server.record("running").state is JobState.INTERRUPTED
    assert server.get(f"/history/{job_id('waiting')}").json() == {}
    assert server.get("/queue").json() == {"queue_running": [], "queue_pending": []}


def test_interrupt_without_an_id_stops_what_runs(server: Server) -> None:
    with connected(server) as client:
        server.prompt(slow_graph(2), "global")
        assert Slow.reached.wait(60)
        assert requests.post(f"{server.url}/interrupt", timeout=60).status_code == 200
        Slow.go_on.set()
        client.until_over("global")
    assert server.record("global").state is JobState.INTERRUPTED


def test_a_job_of_a_client_that_left_is_done_all_the_same(server: Server) -> None:
    with connected(server, "leaver"):
        server.prompt(slow_graph(3), "stale", client="leaver")
        assert Slow.reached.wait(60)
    with connected(server, "other") as client:
        Slow.go_on.set()
        client.until(lambda event: isinstance(event, QueueStatus) and event.queue_remaining == 0)
    assert server.record("stale").state is JobState.SUCCEEDED


def test_a_client_that_comes_back_hears_where_the_job_is(server: Server) -> None:
    with connected(server, "returner") as first:
        server.prompt(slow_graph(4), "returned", client="returner")
        first.until(lambda event: isinstance(event, StepProgress))
        with connected(server, "returner") as second:
            # the old socket's end must not silence the new one
            first.socket.close()
            second.until(lambda event: isinstance(event, Executing) and event.node == "1")
            Slow.go_on.set()
            second.until_over("returned")


def test_free_forgets_results(server: Server) -> None:
    graph = recorder.picture_graph(64)
    with connected(server) as client:
        server.prompt(graph, "before")
        client.until_over("before")
        server.prompt(graph, "cached")
        client.until_over("cached")
        assert server.post("/free", {"free_memory": True}).status_code == 200
        server.prompt(graph, "after")
        client.until_over("after")
        cached = {event.prompt_id: event.nodes for event in client.told(ExecutionCached)}
    assert cached[job_id("cached")] == ("1", "2", "3")
    assert cached[job_id("after")] == ()


# ------------------------------------------------------------------ previews


def test_previews_come_in_the_form_that_the_client_knows(server: Server) -> None:
    with connected(server, "old") as old, connected(server, "new", flags=True) as new:
        for tag, (name, client) in enumerate((("old", old), ("new", new)), 10):
            server.prompt(slow_graph(tag), f"preview-{name}", client=name)
            Slow.go_on.set()
            client.until_over(f"preview-{name}")
        plain, rich = old.told(Preview), new.told(Preview)
    assert len(plain) == len(rich) == 5
    assert (plain[0].prompt_id, plain[0].node_id) == (None, None)
    assert (rich[0].prompt_id, rich[0].node_id) == (job_id("preview-new"), "1")
    assert Image.open(bytes_io.BytesIO(plain[0].image)).size == (8, 8)
    assert new.told(Executed)


# ------------------------------------------------------------------ /api/jobs


@pytest.fixture(scope="module")
def jobs(server: Server) -> dict[str, Any]:
    """The requests of the recording below /api/jobs, made to the engine."""
    return comparable(recorder.reduced(recorder.record_jobs(server.address)))


def comparable(value: Any) -> Any:
    """Without what is not the protocol's: how many jobs came before, and a class of Pillow's."""
    if isinstance(value, dict):
        return {
            key: comparable(each)
            for key, each in value.items()
            if key not in ("priority", "exception_type")
        }
    return [comparable(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", sorted(recorded("jobs")))
def test_what_the_engine_says_of_jobs_is_comfyuis(name: str, jobs: dict[str, Any]) -> None:
    ours, theirs = copy.deepcopy(jobs[name]), comparable(recorded("jobs")[name])
    if name == "slow in whole":
        # ComfyUI ends the stack of pictures that it scales; the engine asks between them.
        for body, node_id in ((ours, "2"), (theirs, "3")):
            told = body["body"]["execution_status"]["messages"][-1][1]
            assert told.pop("node_id") == node_id
            for key in ("node_type", "executed"):
                del told[key]
    assert ours == theirs


@pytest.mark.parametrize("name", [name for name in recorded("prompts") if "prompt_id" in name])
def test_an_id_that_is_no_uuid_is_refused(name: str, server: Server) -> None:
    answer = server.post("/prompt", recorder.prompts()[name])
    theirs = recorded("prompts")[name]
    assert answer.status_code == theirs["status"]
    ours = recorder.reduced(answer.json())
    assert {**ours, "number": 0} == {**theirs["body"], "number": 0}


def test_logins_of_the_editor_are_kept_nowhere(server: Server) -> None:
    extra = {"auth_token_comfy_org": "secret", "api_key_comfy_org": "secret", "kept": 1}
    body = {"prompt": recorder.picture_graph(52), "prompt_id": job_id("login"), "extra_data": extra}
    with connected(server) as client:
        assert server.post("/prompt", {**body, "client_id": "tester"}).status_code == 200
        client.until_over("login")
    text = server.get(f"/api/jobs/{job_id('login')}").text
    assert "secret" not in text + server.get("/history").text
    assert '"kept": 1' in text


def model_graph(model: str, steps: int) -> dict[str, Any]:
    linked = {"positive": ["2", 0], "negative": ["2", 0], "latent_image": ["3", 0]}
    sampling = {"seed": 1, "steps": steps, "cfg": 1.0, "denoise": 1.0}
    settings = dict.fromkeys(("precision", "attention", "vae_tiling", "offload"), "auto")
    return {
        "1": {
            "class_type": "SpriteworksDiffusersLoader",
            "inputs": {"model_name": model, **settings},
        },
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a gem", "clip": ["1", 1]}},
        "3": {
            "class_type": "EmptyLatentImage",
            "inputs": {"width": 64, "height": 64, "batch_size": 1},
        },
        "4": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["1", 0],
                "sampler_name": "euler",
                "scheduler": "normal",
                **sampling,
                **linked,
            },
        },
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
        "6": {"class_type": "PreviewImage", "inputs": {"images": ["5", 0]}},
    }


class Steps:
    """Holds a sampler at a step, and counts how often its model is asked."""

    def __init__(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self.asked = 0
        self._hold_at = 0.0
        self._send = server.engine.hub.send
        monkeypatch.setattr(server.engine.hub, "send", self._hear)

    def hold_at(self, step: float) -> None:
        self._hold_at = step

    def _hear(self, event: Event, client_id: str | None) -> None:
        self._send(event, client_id)
        if isinstance(event, StepProgress) and event.value == self._hold_at:
            self.reached.set()
            assert self.go_on.wait(60)

    @contextmanager
    def counting(self) -> Iterator[None]:
        from diffusers import UNet2DConditionModel
        from torch.nn.modules.module import register_module_forward_pre_hook

        def count(module: Any, _: Any) -> None:
            self.asked += isinstance(module, UNet2DConditionModel)

        handle = register_module_forward_pre_hook(count)
        try:
            yield
        finally:
            handle.remove()


def test_a_sampler_that_is_cancelled_takes_not_one_step_more(
    server: Server, tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = server.folders.model_roots[0] / "diffusers" / "tiny"
    shutil.copytree(tiny_models / "tiny-sd1", target)
    steps = Steps(server, monkeypatch)
    steps.hold_at(3)
    cancel = f"/api/jobs/{job_id('sampled')}/cancel"
    with connected(server) as client, steps.counting():
        server.prompt(model_graph("tiny", 20), "sampled")
        server.prompt(recorder.picture_graph(53), "next")
        assert steps.reached.wait(60)
        assert server.post(cancel).json() == {"cancelled": True}
        assert server.post(cancel).json() == {"cancelled": True}
        steps.go_on.set()
        client.until_over("next")
        assert server.post(cancel).json() == {"cancelled": False}
        told = [each.value for each in client.told(StepProgress) if each.max == 20]
    assert told == [1, 2, 3]
    assert steps.asked == 3
    assert server.record("sampled").state is JobState.INTERRUPTED
    assert server.record("next").state is JobState.SUCCEEDED


# ------------------------------------------------------------------ plain routes, as recorded


# What a server says of itself, and ours is another.
_OF_ITSELF = {"models", "embeddings", "features", "system_stats"}
# A folder outside is refused with 403 there, like every other bad name with 400 here.
_OTHERWISE = {"view subfolder outside"}


@pytest.fixture(scope="module")
def routes(server: Server) -> dict[str, Any]:
    """The plain requests of the recording, made to the engine."""
    played: dict[str, Any] = recorder.reduced(recorder.record_http(server.address))
    return played


@pytest.mark.parametrize("name", sorted(set(recorded("http")) - _OF_ITSELF - _OTHERWISE))
def test_a_plain_route_answers_as_comfyuis_does(name: str, routes: dict[str, Any]) -> None:
    ours, theirs = routes[name], recorded("http")[name]
    assert ours["status"] == theirs["status"]
    if theirs["body"] is not None or ours["status"] == 200:
        assert ours == theirs


def test_uploads_lie_where_they_should(server: Server, routes: dict[str, Any]) -> None:
    assert routes["upload"]["status"] == 200
    folder = server.folders.input
    assert Image.open(folder / "up.png").getpixel((0, 0)) == (7, 8, 9)
    assert Image.open(folder / "masked.png").getpixel((0, 0)) == (7, 8, 9, 77)
    for query in ("channel=rgb", "channel=a", "preview=webp;50", "preview=jpeg"):
        answer = server.get(f"/view?filename=up.png&type=input&{query}")
        Image.open(bytes_io.BytesIO(answer.content)).load()


def test_the_features_are_among_comfyuis(server: Server) -> None:
    ours, theirs = server.get("/features").json(), recorded("http")["features"]["body"]
    assert ours.items() <= theirs.items()
    assert ours["supports_preview_metadata"] is True


def test_system_stats_tell_the_kind(server: Server) -> None:
    body = server.get("/api/system_stats").json()
    assert SystemStats.from_json(body).kind == "spriteworks-engine"
    theirs = recorded("http")["system_stats"]["body"]
    assert set(body["devices"][0]) == set(theirs["devices"][0])
    assert {"os", "ram_total", "comfyui_version", "python_version", "argv"} <= set(body["system"])


def test_models_are_listed(server: Server) -> None:
    assert {"checkpoints", "loras", "embeddings", "diffusers", "vae"} <= set(
        server.get("/models").json()
    )
    assert server.get("/models/embeddings").json() == ["pixel.safetensors"]
    assert server.get("/embeddings").json() == ["pixel"]


def test_a_page_of_another_site_cannot_show_our_pictures(server: Server) -> None:
    """An <img> there sends no Origin, but a browser says that it is another site."""
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}
    assert server.get("/view?filename=up.png&type=input", headers=headers).status_code == 403
    with pytest.raises(websocket.WebSocketBadStatusException):
        websocket.create_connection(
            f"ws://{server.address}/ws", header=["Sec-Fetch-Site: cross-site"], timeout=60
        )


@pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost.evil.example", "null"])
def test_a_foreign_page_reaches_neither_routes_nor_socket(server: Server, origin: str) -> None:
    answer = server.post("/prompt", {"prompt": {}}, headers={"Origin": origin})
    assert answer.status_code == 403
    with pytest.raises(websocket.WebSocketBadStatusException):
        websocket.create_connection(f"ws://{server.address}/ws", origin=origin, timeout=60)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/prompt", "no JSON"),
        ("/prompt", "[1]"),
        ("/prompt", '{"prompt": []}'),
        ("/prompt", '{"prompt": {}, "number": "x"}'),
        ("/prompt", '{"prompt": {"1": {"class_type": "Nope", "inputs": {}}}, "extra_data": 5}'),
        ("/queue", "no JSON"),
        ("/history", "[]"),
        ("/free", "{"),
    ],
)
def test_nonsense_is_a_400(server: Server, path: str, body: str) -> None:
    assert requests.post(f"{server.url}{path}", data=body, timeout=60).status_code == 400


def test_a_body_too_large_is_refused(server: Server) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(101):
            yield bytes(1024 * 1024)

    try:
        answer = requests.post(f"{server.url}/upload/image", data=pieces(), timeout=60)
    except requests.ConnectionError:
        return  # cut off while it still sends
    assert answer.status_code in (400, 413)


def test_a_name_never_leaves_its_folder(server: Server) -> None:
    secret = server.folders.input.parent / "secret.png"
    secret.write_bytes(png("red"))
    for query in (
        {"filename": "../secret.png", "type": "input"},
        {"filename": "secret.png", "subfolder": "..", "type": "input"},
        {"filename": str(secret), "type": "input"},
        {"filename": "..\\secret.png", "type": "input"},
        {"filename": "secret.png", "subfolder": str(secret.parent), "type": "input"},
        {"filename": "x\x00.png", "type": "input"},
    ):
        assert server.get("/view", params=query).status_code in (400, 403), query
    for name in ("../up.png", "/tmp/up.png", "..\\up.png"):
        answer = upload(server, name, png("blue"), subfolder="..")
        assert answer.status_code == 400
    reference = json.dumps({"filename": "../secret.png", "type": "input"})
    answer = upload(server, "m.png", png((0, 0, 0, 1), "RGBA"), "mask", original_ref=reference)
    assert answer.status_code == 400


@pytest.mark.parametrize("name", recorder.CORE_NODES)
def test_object_info_is_comfyuis(name: str, server: Server) -> None:
    """Names, types, defaults and ranges of every input; choices of ours are all among theirs."""
    theirs = recorded("object_info")[name]
    ours = server.get(f"/object_info/{name}").json()[name]
    for key in ("output", "output_is_list", "output_name", "output_node", "name"):
        assert ours[key] == theirs[key], key
    for group in ("required", "optional"):
        assert ours["input_order"].get(group) == theirs["input_order"].get(group)
    for group, inputs in theirs["input"].items():
        for each, real in inputs.items():
            mine = ours["input"][group][each]
            if isinstance(real[0], list):
                assert isinstance(mine[0], list), each
                assert not real[0] or set(mine[0]) <= set(real[0]), each
            else:
                assert mine[0] == real[0], each
            options = [config[1] if len(config) > 1 else {} for config in (mine, real)]
            if group == "hidden":
                continue
            for key in ("default", "min", "max", "multiline"):
                assert options[0].get(key) == options[1].get(key), (each, key)


# ------------------------------------------------------------------ the process


@pytest.mark.skipif(os.name == "nt", reason="a signal there ends a process at once")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_process_says_where_it_listens_and_stops_in_good_order(
    number: signal.Signals, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "orchestrator.engine", "--port", "0"]
    for kind in ("input", "output"):
        command += [f"--{kind}-directory", str(tmp_path / kind)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    assert said["event"] == "listening"
    assert requests.get(f"{said['url']}/queue", timeout=60).status_code == 200
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("options", "code", "reason"),
    [
        (["--port", "taken"], 3, "take another --port"),
        (["--port", "99999"], 3, "take another --port"),
        (["--port", "0", "--host", "no.invalid"], 3, "take another --host"),
        (["--port", "0", "--output-directory", "file"], 1, "file cannot be made"),
        (["--port", "0", "--output-directory", "file/x"], 1, "file/x cannot be made"),
        (["--models", "nothere"], 2, "there is no such folder"),
        (["--port", "x"], 2, "--port: invalid int value"),
        (["--nothing"], 2, "unrecognized arguments: --nothing"),
    ],
)
def test_an_engine_that_does_not_start_is_a_sentence_and_leaves_nothing(
    tmp_path: Path, options: list[str], code: int, reason: str
) -> None:
    (tmp_path / "file").touch()
    with listen("127.0.0.1", 0, "the test") as taken:
        taken.listen()
        port = str(taken.getsockname()[1])
        answer = subprocess.run(
            [
                *(sys.executable, "-m", "orchestrator", "engine"),
                *(port if option == "taken" else option for option in options),
            ],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(DATA.parents[1])},
            capture_output=True,
            text=True,
            timeout=60,
        )
    said = answer.stderr.strip().splitlines()
    assert answer.returncode == code
    assert len(said) == 1
    assert reason in said[0]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST.:80", 200),
        ("[::1]", 200),
        ("sprites.example:8188", 200),
        ("evil.example", 421),
        ("evil.example@localhost", 421),
        ("localhost, evil.example", 421),
        ("", 421),
    ],
)
def test_it_answers_to_names_of_this_machine_and_to_those_it_was_told(
    tmp_path: Path, host: str, status: int
) -> None:
    folders = Folders(input=tmp_path / "i", output=tmp_path / "o", temp=tmp_path / "t")
    engine = Engine(folders, NodeRegistry(list))
    app = create_app(engine, names=["sprites.example"])
    # not entered: it shall not start, and set this process's folders
    client = TestClient(app)
    assert client.get("/queue", headers={"Host": host}).status_code == status
    twice = [("Host", host), ("Host", "localhost")]
    assert client.get("/queue", headers=twice).status_code == 400  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("client_id", "{}"),
        ("client_id", '"\\ud800"'),
        ("number", "NaN"),
        ("number", "1e400"),
        ("number", '"nan"'),
        ("number", "9" * 400),
        ("number", "9" * 5000),
        ("extra_data", "[1]"),
        ("extra_data", '{"client_id": []}'),
        ("extra_data", '{"extra_pnginfo": [1]}'),
        ("extra_data", '{"extra_pnginfo": {"": 1}}'),
        ("extra_data", '{"extra_pnginfo": {"' + "a" * 80 + '": 1}}'),
        ("extra_data", '{"extra_pnginfo": {"a\\u0000": 1}}'),
        ("partial_execution_targets", "5"),
        ("partial_execution_targets", '"2"'),
        ("partial_execution_targets", "[{}]"),
        ("x", "[" * 200 + "]" * 200),
        ("x", "[" * 100_000),
        ("x", "-Infinity"),
    ],
)
def test_what_stands_beside_a_graph_is_checked(server: Server, field: str, value: str) -> None:
    graph = {"1": {"class_type": "Slow", "inputs": {"tag": 1}}}
    body = f'{{"prompt": {json.dumps(graph)}, "{field}": {value}}}'
    answer = server.post("/prompt", data=body.encode())
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["details"]


def test_a_websocket_whose_head_cannot_be_read_is_answered(server: Server) -> None:
    with socket.create_connection(server.address.split(":"), timeout=30) as connection:
        connection.sendall(
            b"GET /ws?clientId=" + b"a" * 30_000 + b" HTTP/1.1\r\nHost: localhost\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_ids_of_any_kind_may_be_deleted(server: Server) -> None:
    for path in ("/queue", "/history"):
        odd = [{}, [], None, 5, "x"]
        assert server.post(path, {"delete": odd}).status_code == 200
