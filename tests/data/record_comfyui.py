"""Record what a real ComfyUI answers, as data that the engine and the fake are held to.

    python tests/data/record_comfyui.py ~/comfy/ComfyUI

Starts ComfyUI on the CPU with folders of its own and writes tests/data/comfyui/*.json. Ids, times
and ComfyUI's own wording are replaced, so that recording again changes nothing.
"""

from __future__ import annotations

import argparse
import io
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import websocket
from PIL import Image

HERE = Path(__file__).parent / "comfyui"
CORE_NODES = [
    "CheckpointLoaderSimple",
    "CLIPTextEncode",
    "CLIPSetLastLayer",
    "EmptyLatentImage",
    "KSampler",
    "KSamplerAdvanced",
    "VAEDecode",
    "VAEDecodeTiled",
    "VAEEncode",
    "VAEEncodeForInpaint",
    "InpaintModelConditioning",
    "SetLatentNoiseMask",
    "RepeatLatentBatch",
    "LatentUpscale",
    "LoraLoader",
    "LoadImage",
    "LoadImageMask",
    "ImageScale",
    "ImageScaleBy",
    "ImageToMask",
    "MaskToImage",
    "InvertMask",
    "EmptyImage",
    "SaveImage",
    "PreviewImage",
    "SaveImageWebsocket",
]


# ------------------------------------------------------------------------ the graphs

_IDS: dict[str, str] = {}


def job_id(name: str) -> str:
    """A canonical UUID for a job of that name; recordings show the name."""
    found = str(uuid.uuid5(uuid.NAMESPACE_URL, name))
    _IDS[found] = name
    return found


def picture_graph(width: int = 16, *, color: int = 255, prefix: str = "recorded") -> dict[str, Any]:
    return {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": color},
        },
        "2": {"class_type": "ImageScale", "inputs": scale(["1", 0], width)},
        "3": {
            "class_type": "SaveImage",
            "inputs": {"images": ["2", 0], "filename_prefix": prefix},
        },
    }


def scale(image: Any, width: Any) -> dict[str, Any]:
    return {
        "image": image,
        "upscale_method": "nearest-exact",
        "width": width,
        "height": 16,
        "crop": "disabled",
    }


def load_graph(name: str) -> dict[str, Any]:
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": name}},
        "2": {"class_type": "ImageScale", "inputs": scale(["1", 0], 16)},
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
    }


def slow_graph(width: int = 2000) -> dict[str, Any]:
    """The scaling takes seconds; ComfyUI notices an interrupt between two nodes."""
    graph = picture_graph(width, prefix="slow")
    graph["1"]["inputs"] |= {"width": 2048, "height": 2048, "batch_size": 8}
    graph["2"]["inputs"] |= {"height": 2000, "upscale_method": "lanczos"}
    return graph


def with_input(node: str, name: str, value: Any) -> dict[str, Any]:
    graph = picture_graph()
    graph[node]["inputs"][name] = value
    return graph


def without_input(node: str, name: str) -> dict[str, Any]:
    graph = picture_graph()
    del graph[node]["inputs"][name]
    return graph


def _unknown_class(**meta: str) -> dict[str, Any]:
    node = {"class_type": "NoSuchNode", "inputs": {}, "_meta": meta}
    return picture_graph() | {"4": node}


def _no_class(**meta: str) -> dict[str, Any]:
    return picture_graph() | {"4": {"inputs": {}, "_meta": meta}}


def _no_output() -> dict[str, Any]:
    graph = picture_graph()
    del graph["3"]
    return graph


def _two_outputs_one_bad() -> dict[str, Any]:
    graph = picture_graph()
    graph["4"] = {"class_type": "ImageScale", "inputs": scale(["1", 0], -5)}
    graph["5"] = {"class_type": "PreviewImage", "inputs": {"images": ["4", 0]}}
    return graph


def _cycle() -> dict[str, Any]:
    graph = picture_graph()
    graph["2"]["inputs"]["image"] = ["4", 0]
    graph["4"] = {"class_type": "ImageScale", "inputs": scale(["2", 0], 16)}
    return graph


def prompts() -> dict[str, dict[str, Any]]:
    """Bodies of POST /prompt: what is refused, and how values are coerced."""
    graphs = {
        "good": picture_graph(),
        "required_input_missing": without_input("2", "width"),
        "bad_linked_input": with_input("2", "image", ["1", 0, 0]),
        "return_type_mismatch": with_input("3", "filename_prefix", ["1", 0]),
        "invalid_input_type": with_input("2", "width", "wide"),
        "value_smaller_than_min": with_input("2", "width", -5),
        "value_bigger_than_max": with_input("2", "width", 99999),
        "value_not_in_list": with_input("2", "upscale_method", "magic"),
        "custom_validation_failed": load_graph("no-such-file.png"),
        "unknown_class": _unknown_class(),
        "unknown_class_titled": _unknown_class(title="A node"),
        "no_class_type": _no_class(),
        "no_class_type_titled": _no_class(title="A node"),
        "prompt_no_outputs": _no_output(),
        "two_outputs_one_bad": _two_outputs_one_bad(),
        "dependency_cycle": _cycle(),
        "link_to_missing_node": with_input("2", "image", ["99", 0]),
        "link_to_missing_output": with_input("2", "image", ["1", 7]),
        "coerced_string": with_input("2", "width", "16"),
        "coerced_float": with_input("2", "width", 16.9),
        "unknown_input": with_input("2", "no_such_input", 1),
        "wrapped_value": with_input("2", "width", {"__value__": 16}),
    }
    bodies: dict[str, dict[str, Any]] = {name: {"prompt": graph} for name, graph in graphs.items()}
    bodies["no_prompt"] = {"client_id": "x"}
    good = job_id("a good one")
    for name, prompt_id in {
        "prompt_id": good,
        "prompt_id_null": None,
        "prompt_id_upper_case": good.upper(),
        "prompt_id_without_hyphens": good.replace("-", ""),
        "prompt_id_word": "first",
        "prompt_id_empty": "",
    }.items():
        bodies[name] = {"prompt": picture_graph(), "prompt_id": prompt_id}
    return bodies


# ------------------------------------------------------------------------ the server


@contextmanager
def comfyui(folder: Path) -> Iterator[str]:
    """Run ComfyUI with folders of its own; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as scratch:
        options = [str(folder / "main.py"), "--cpu", "--port", str(port)]
        # not the one in ComfyUI's own folder
        options += ["--database-url", "sqlite:///:memory:"]
        for kind in ("input", "output", "temp", "user"):
            Path(scratch, kind).mkdir()
            options += [f"--{kind}-directory", str(Path(scratch, kind))]
        python = next((path for path in _pythons(folder) if path.exists()), Path(sys.executable))
        process = subprocess.Popen(
            [str(python), *options], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        try:
            _wait(f"http://127.0.0.1:{port}")
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def _pythons(folder: Path) -> list[Path]:
    return [folder / ".venv/bin/python", folder / ".venv/Scripts/python.exe"]


def _wait(url: str) -> None:
    for _ in range(120):
        try:
            requests.get(f"{url}/system_stats", timeout=5)
            return
        except requests.ConnectionError:
            time.sleep(1)
    raise SystemExit("ComfyUI did not start within two minutes")


class Listener:
    """A WebSocket client that keeps everything it hears."""

    def __init__(self, server: str, client_id: str) -> None:
        self.socket = websocket.create_connection(f"ws://{server}/ws?clientId={client_id}")
        self.events: list[Any] = []
        self._changed = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                frame = self.socket.recv()
            except (websocket.WebSocketException, OSError):
                return
            if not frame:
                return
            event = json.loads(frame) if isinstance(frame, str) else {"binary": len(frame)}
            with self._changed:
                self.events.append(event)
                self._changed.notify_all()

    def until(self, **wanted: Any) -> None:
        """Wait for an event whose type, or whose data's items, are these."""

        def seen() -> bool:
            return any(_matches(event, wanted) for event in self.events)

        with self._changed:
            if not self._changed.wait_for(seen, timeout=60):
                raise SystemExit(f"no event {wanted} within a minute: {self.events}")

    def close(self) -> None:
        self.socket.close()


def _matches(event: dict[str, Any], wanted: dict[str, Any]) -> bool:
    flat = {"type": event.get("type"), **(event.get("data") or {})}
    return all(key in flat and flat[key] == value for key, value in wanted.items())


# ------------------------------------------------------------------------ recording


def record_object_info(server: str) -> dict[str, Any]:
    info = requests.get(f"http://{server}/object_info", timeout=60).json()
    return {name: info[name] for name in CORE_NODES}


def record_prompts(server: str) -> dict[str, Any]:
    recorded = {}
    for name, body in prompts().items():
        answer = requests.post(f"http://{server}/prompt", json=body, timeout=60)
        text = answer.text if answer.status_code == 500 else answer.json()
        body = text if isinstance(text, dict) else None
        recorded[name] = {"status": answer.status_code, "body": body}
    return recorded


def post(
    server: str, graph: Any, name: str, client: str | None = "recorder", **extra_data: Any
) -> Any:
    body = {"prompt": graph, "prompt_id": job_id(name), "extra_data": extra_data}
    if client:
        body["client_id"] = client
    answer = requests.post(f"http://{server}/prompt", json=body, timeout=60)
    answer.raise_for_status()
    return answer.json()


def upload(server: str, name: str, content: bytes, route: str = "image", **fields: str) -> Any:
    return requests.post(
        f"http://{server}/upload/{route}", files={"image": (name, content)}, data=fields, timeout=60
    )


def png(color: tuple[int, ...], size: tuple[int, int] = (8, 8)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA" if len(color) == 4 else "RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def record_runs(server: str) -> dict[str, Any]:
    """Play every kind of run; each gives its events and its history record."""
    upload(server, "red.png", png((255, 0, 0)))
    upload(server, "broken.png", b"this is no picture")
    runs: dict[str, Any] = {}
    plan = {
        "first": picture_graph(),
        "same_again": picture_graph(),
        "one_changed": picture_graph(24),
        "loaded": load_graph("red.png"),
        "failed": load_graph("broken.png"),
    }
    for name, graph in plan.items():
        listener = Listener(server, "recorder")
        post(server, graph, name)
        listener.until(type="executing", node=None, prompt_id=job_id(name))
        runs[name] = finish(server, name, listener)
    runs["interrupted"], queue = record_interrupted(server)
    runs["without_client"] = record_without_client(server)
    return {"runs": runs, "queue": queue}


def finish(server: str, name: str, listener: Listener) -> dict[str, Any]:
    time.sleep(0.5)  # what still comes after the last event we wait for
    listener.close()
    history = requests.get(f"http://{server}/history/{job_id(name)}", timeout=60).json()
    return {"events": listener.events, "history": history}


def record_interrupted(server: str) -> tuple[dict[str, Any], Any]:
    listener = Listener(server, "recorder")
    running, waiting = job_id("interrupted"), job_id("waiting")
    post(server, slow_graph(), "interrupted")
    post(server, picture_graph(32), "waiting")
    listener.until(type="executing", node="2", prompt_id=running)
    queue = requests.get(f"http://{server}/queue", timeout=60).json()
    requests.post(f"http://{server}/queue", json={"delete": [waiting]}, timeout=60)
    requests.post(f"http://{server}/interrupt", json={"prompt_id": running}, timeout=60)
    listener.until(type="executing", node=None, prompt_id=running)
    return finish(server, "interrupted", listener), queue


def record_without_client(server: str) -> dict[str, Any]:
    listener = Listener(server, "bystander")
    listener.until(type="status")
    post(server, picture_graph(40), "without_client", client=None)
    deadline = time.monotonic() + 60
    url = f"http://{server}/history/{job_id('without_client')}"
    while time.monotonic() < deadline and not requests.get(url, timeout=60).json():
        time.sleep(0.2)
    return finish(server, "without_client", listener)


def record_jobs(server: str) -> dict[str, Any]:
    """Status and body of the routes below /api/jobs, for jobs in every state."""
    upload(server, "broken.png", b"this is no picture")
    recorded: dict[str, Any] = {}
    mine = "/api/jobs?workflow_id=canvas"
    canvas = {"workflow": {"id": "canvas", "nodes": []}}

    def put(name: str, graph: Any) -> None:
        post(server, graph, name, extra_pnginfo=canvas)

    def ask(name: str, path: str) -> None:
        keep(name, requests.get(f"http://{server}{path}", timeout=60))

    def cancel(name: str, path: str, body: Any = None) -> None:
        keep(name, requests.post(f"http://{server}/api/jobs/{path}", json=body, timeout=60))

    def keep(name: str, answer: requests.Response) -> None:
        recorded[name] = {"status": answer.status_code, "body": answer.json()}

    listener = Listener(server, "recorder")
    # colours of their own, so that nothing comes from the cache
    put("completed", picture_graph(48, color=1, prefix="jobs"))
    put("failed", load_graph("broken.png"))
    listener.until(type="executing", node=None, prompt_id=job_id("failed"))
    put("slow", slow_graph(1999))
    for number, name in enumerate(("second", "third", "fourth"), 2):
        put(name, picture_graph(48, color=number, prefix="jobs"))
    listener.until(type="executing", node="2", prompt_id=job_id("slow"))
    ask("all", mine)
    ask("one that runs", f"/api/jobs/{job_id('slow')}")
    ask("one that waits", f"/api/jobs/{job_id('third')}")
    cancel("cancel one that waits", f"{job_id('second')}/cancel")
    cancel("cancel it again", f"{job_id('second')}/cancel")
    ask("one that was cancelled before it ran", f"/api/jobs/{job_id('second')}")
    both = [job_id("fourth"), job_id("slow"), job_id("nobody")]
    cancel("cancel several", "cancel", {"job_ids": both})
    listener.until(type="executing", node=None, prompt_id=job_id("third"))
    listener.close()
    cancel("cancel several that are over", "cancel", {"job_ids": both})
    cancel("cancel one that is over", f"{job_id('completed')}/cancel")
    cancel("cancel an unknown one", f"{job_id('nobody')}/cancel")
    cancel("cancel what is no id", "word/cancel")
    for name, body in {
        "cancel a list with what is no id": {"job_ids": [job_id("third"), "word", 7, None, ["x"]]},
        "cancel none": {"job_ids": []},
        "cancel what is no list": {"job_ids": "word"},
        "cancel without a list": {},
        "cancel without an object": [],
    }.items():
        cancel(name, "cancel", body)
    nonsense = requests.post(f"http://{server}/api/jobs/cancel", data="no JSON", timeout=60)
    keep("cancel without JSON", nonsense)
    for name in ("completed", "failed", "slow"):
        ask(f"{name} in whole", f"/api/jobs/{job_id(name)}")
    ask("unknown", f"/api/jobs/{job_id('nobody')}")
    for query in (
        "status=completed",
        "status=cancelled, FAILED",
        "status=pending,in_progress",
        "status=",
        "status=nonsense,completed",
        "sort_order=asc",
        "sort_order=sideways",
        "sort_by=created_at&sort_order=DESC",
        "sort_by=execution_duration&status=failed",
        "sort_by=name",
        "limit=2",
        "limit=2&offset=2",
        "limit=2&offset=9",
        "limit=0",
        "limit=two",
        "offset=-1&limit=1",
        "offset=two",
        "nonsense=1",
    ):
        ask(query, f"{mine}&{query}")
    return recorded


def record_http(server: str) -> dict[str, Any]:
    """Status and body of the plain routes, good and bad."""
    url = f"http://{server}"
    recorded: dict[str, Any] = {}

    def keep(name: str, answer: requests.Response) -> None:
        kind = answer.headers.get("Content-Type", "").split(";")[0]
        body = answer.json() if kind == "application/json" else None
        recorded[name] = {"status": answer.status_code, "type": kind, "body": body}
        if answer.headers.get("Content-Disposition", "").startswith("attachment"):
            recorded[name] |= {key: answer.headers.get(key) for key in GUARDING}

    def get(name: str, path: str, **headers: str) -> None:
        keep(name, requests.get(f"{url}{path}", headers=headers, timeout=60))

    keep("upload", upload(server, "up.png", png((1, 2, 3))))
    keep("upload same content", upload(server, "up.png", png((1, 2, 3))))
    keep("upload other content", upload(server, "up.png", png((4, 5, 6))))
    keep("upload overwrite", upload(server, "up.png", png((7, 8, 9)), overwrite="true"))
    keep("upload subfolder", upload(server, "up.png", png((1, 2, 3)), subfolder="a/b"))
    keep("upload temp", upload(server, "up.png", png((1, 2, 3)), type="temp"))
    keep("upload outside", upload(server, "up.png", png((1, 2, 3)), subfolder="../.."))
    keep("upload nothing", requests.post(f"{url}/upload/image", data={"a": "b"}, timeout=60))
    original = json.dumps({"filename": "up.png", "type": "input"})
    mask = png((0, 0, 0, 77))
    keep("mask", upload(server, "masked.png", mask, "mask", original_ref=original))
    get("view", "/view?filename=up.png&type=input")
    get("view rgb", "/view?filename=masked.png&type=input&channel=rgb")
    get("view alpha", "/view?filename=masked.png&type=input&channel=a")
    get("view webp", "/view?filename=masked.png&type=input&preview=webp;50")
    get("view jpeg", "/view?filename=up.png&type=input&preview=jpeg")
    get("view annotated", "/view?filename=up.png%20[input]")
    get("view missing", "/view?filename=missing.png")
    get("view without name", "/view")
    get("view bad type", "/view?filename=up.png&type=secret")
    get("view dots", "/view?filename=../up.png&type=input")
    get("view absolute", "/view?filename=/etc/passwd")
    get("view subfolder outside", "/view?filename=up.png&subfolder=../..&type=input")
    for kind in ("html", "svg", "xhtml", "js", "css", "xml", "xsl", "mht", "txt", "bin"):
        upload(server, f"page.{kind}", b"<svg xmlns='http://www.w3.org/2000/svg'/>")
        get(f"view {kind}", f"/view?filename=page.{kind}&type=input")
        image = {"Sec-Fetch-Dest": "image"}
        get(f"view {kind} as an image", f"/view?filename=page.{kind}&type=input", **image)
    get("api prefix", "/api/view?filename=up.png&type=input")
    get("object_info unknown", "/object_info/NoSuchNode")
    get("history unknown", "/history/no-such-id")
    get("models", "/models")
    get("models unknown", "/models/no-such-folder")
    get("embeddings", "/embeddings")
    get("features", "/features")
    get("prompt", "/prompt")
    get("queue", "/queue")
    get("system_stats", "/system_stats")
    get("cross origin", "/queue", Origin="http://example.com")
    get("same origin", "/queue", Origin=url)
    for site in ("cross-site", "same-site", "same-origin", "none", "CROSS-SITE"):
        get(f"site {site}", "/queue", **{"Sec-Fetch-Site": site})
    keep("interrupt", requests.post(f"{url}/interrupt", timeout=60))
    keep("interrupt other", requests.post(f"{url}/interrupt", json={"prompt_id": "x"}, timeout=60))
    keep("free", requests.post(f"{url}/free", json={"unload_models": True}, timeout=60))
    keep("queue clear", requests.post(f"{url}/queue", json={"clear": True}, timeout=60))
    keep("history delete", requests.post(f"{url}/history", json={"delete": ["x"]}, timeout=60))
    return recorded


# Headers of an answer that a browser must not run.
GUARDING = ("Content-Disposition", "X-Content-Type-Options", "Cache-Control", "Vary")

# ------------------------------------------------------------------------ reducing

# Replaced: what differs from run to run, and ComfyUI's own sentences.
TEXTS = ("tooltip", "description", "message", "details", "exception_message")
NUMBERS = (
    *("timestamp", "create_time", "execution_start_time", "execution_end_time"),
    *("ram_total", "ram_free", "vram_total", "vram_free", "torch_vram_total"),
)


def reduced(value: Any, key: str = "") -> Any:
    if isinstance(value, str) and value in _IDS:
        return _IDS[value]
    if key in TEXTS and isinstance(value, str):
        return "text" if value else ""
    # of a route; that of a prompt is an object
    if key == "error" and isinstance(value, str):
        return "text" if value else ""
    if key in ("current_outputs", "executed") and isinstance(value, list):
        # sets there
        return sorted(value)
    if key == "filename" and str(value).startswith("ComfyUI_temp_"):
        return "ComfyUI_temp_abcde_00001_.png"
    if key in (*NUMBERS, "torch_vram_free") and isinstance(value, int):
        return 0
    if key in ("traceback", "argv", "output_tooltips", "search_aliases") and isinstance(
        value, list
    ):
        return ["text"] if value else []
    if key in ("python_version", "pytorch_version", "prompt_id") and _is_long(value):
        return "text"
    if isinstance(value, dict):
        return {_IDS.get(name, name): reduced(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [reduced(each) for each in value]
    return value


def _is_long(value: Any) -> bool:
    # our own ids are words by now; minted ones and version texts are not wanted
    return isinstance(value, str) and (len(value) > 20 or "." in value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("comfyui", type=Path, help="folder of ComfyUI")
    folder = parser.parse_args().comfyui.expanduser().resolve()
    HERE.mkdir(exist_ok=True)
    with comfyui(folder) as server:
        recordings = {
            "runs": record_runs(server),
            "jobs": record_jobs(server),
            "prompts": record_prompts(server),
            "http": record_http(server),
            "object_info": record_object_info(server),
        }
    for name, recording in recordings.items():
        text = json.dumps(reduced(recording), indent=1, sort_keys=True)
        HERE.joinpath(f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
