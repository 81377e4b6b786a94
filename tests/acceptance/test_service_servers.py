"""The service on real servers, for Comfy's own SDK: the engine, ComfyUI, and several at once."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from PIL import Image

from orchestrator.local import launch
from orchestrator.local.process import python_environment
from served import Served, served

HAS_SDK = importlib.util.find_spec("comfy_sdk") is not None
needs_sdk = pytest.mark.skipif(not HAS_SDK, reason="comfy-sdk is not installed")

# some 20 s of the starter model on a CPU that does nothing else
LONG_JOB = {"prompt": "a red potion", "steps": 400, "seed": 1}


def _graph() -> dict[str, Any]:
    from service_world import graph

    return graph()


def _use_everything(url: str, folder: Path) -> None:
    from sdk_world import use_everything

    use_everything(url, folder, _graph())


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service without any server given, as on a bare machine."""
    with served(tmp_path_factory.mktemp("bare"), ["--device", "cpu"]) as service:
        service.wait_until_ready()
        yield service


@needs_sdk
def test_the_sdk_on_a_bare_machine(bare: Served, tmp_path: Path) -> None:
    _use_everything(bare.url, tmp_path)


def test_a_prompt_becomes_a_sprite_on_a_bare_machine(bare: Served) -> None:
    body = {"prompt": "a red potion", "seed": 3, "steps": 4}
    done = bare.call("POST", "/v1/jobs", json=body, params={"wait": 100})
    assert done.status_code == 200, done.text
    job = done.json()
    assert job["warnings"] == []
    content = bare.call("GET", job["images"][0]["url"]).content
    picture = Image.open(io.BytesIO(content))
    assert picture.mode == "RGBA"
    # the sprite carries the canvas that the editor opens
    texts = picture.text
    canvas = json.loads(texts["workflow"])
    assert "a red potion" in json.dumps(canvas)


def test_curl_sees_the_stream_to_its_end(bare: Served) -> None:
    body = json.dumps({"prompt": "a green slime", "seed": 4, "steps": 12})
    posted = subprocess.run(
        ["curl", "-s", f"{bare.url}/v1/jobs", "-H", "content-type: application/json", "-d", body],
        capture_output=True,
        check=True,
    )
    stream = json.loads(posted.stdout)["stream_url"]
    told = subprocess.run(
        ["curl", "-sN", f"{bare.url}{stream}"], capture_output=True, check=True, timeout=100
    ).stdout.decode()
    kinds = [line[7:] for line in told.splitlines() if line.startswith("event: ")]
    assert "progress" in kinds
    assert "preview" in kinds
    assert kinds[-1] == "complete"
    assert told.endswith("data: [DONE]\n\n")
    data = next(line[6:] for line in reversed(told.splitlines()) if line.startswith("data: {"))
    image = base64.b64decode(json.loads(data)["images"][0]["image_base64"])
    assert Image.open(io.BytesIO(image)).format == "PNG"


def _seconds_of_all_steps(look: Callable[[], dict[str, Any]]) -> float:
    """What all steps of a job that runs take on this machine, as it is now, from ten of them."""
    late = time.monotonic() + 100
    first: tuple[float, int] | None = None
    while True:
        seen = look()
        assert time.monotonic() < late, seen
        step = (seen["progress"] or {}).get("step")
        if step and first is None:
            first = time.monotonic(), step
        elif step and first and step >= first[1] + 10:
            each = (time.monotonic() - first[0]) / (step - first[1])
            return float(each * seen["progress"]["steps"])
        time.sleep(0.02)


def _seconds_to_stop(look: Callable[[], dict[str, Any]], cancel: Callable[[], object]) -> float:
    began = time.monotonic()
    cancel()
    while (status := look()["status"]) == "canceling":
        assert time.monotonic() - began < 100
        time.sleep(0.02)
    assert status == "canceled"
    return time.monotonic() - began


def test_a_running_job_stops_long_before_its_end(bare: Served) -> None:
    id = bare.call("POST", "/v1/jobs", json=LONG_JOB).json()["job_id"]

    def look() -> dict[str, Any]:
        return dict(bare.call("GET", f"/v1/jobs/{id}").json())

    whole = _seconds_of_all_steps(look)
    assert _seconds_to_stop(look, lambda: bare.call("DELETE", f"/v1/jobs/{id}")) < whole / 4
    # and the server is free
    body = {"prompt": "a key", "steps": 2, "seed": 5}
    done = bare.call("POST", "/v1/jobs", json=body, params={"wait": 60})
    assert done.json()["status"] == "succeeded", done.text


def _key(data: Path, name: str) -> dict[str, str]:
    """The header of a new key."""
    command = [sys.executable, "-m", "orchestrator", "keys", "create", name, "--json"]
    made = subprocess.run(
        [*command, "--data", str(data)],
        capture_output=True,
        check=True,
        env=python_environment(),
    )
    return {"Authorization": f"Bearer {json.loads(made.stdout)['key']}"}


def test_a_cancel_on_comfyui_stops_that_job_and_nobody_elses(
    comfyui_url: str, tmp_path: Path
) -> None:
    ann, bob = _key(tmp_path, "ann"), _key(tmp_path, "bob")
    with served(tmp_path, ["--server", comfyui_url]) as service:
        service.wait_until_ready()

        def post(key: dict[str, str], **body: Any) -> str:
            made = service.call("POST", "/v1/jobs", json=body, headers=key)
            return str(made.json()["job_id"])

        def look(key: dict[str, str], id: str, **params: Any) -> dict[str, Any]:
            found = service.call("GET", f"/v1/jobs/{id}", headers=key, params=params)
            return dict(found.json())

        running = post(ann, **LONG_JOB)
        whole = _seconds_of_all_steps(lambda: look(ann, running))
        waiting = post(ann, **{**LONG_JOB, "seed": 2})
        others = post(bob, prompt="a key", steps=2, seed=3)
        foreign = requests.post(f"{comfyui_url}/prompt", json={"prompt": _graph()}, timeout=30)
        foreign_id = foreign.json()["prompt_id"]
        # what is another's is not there
        for key, id in ((bob, running), (bob, waiting), (ann, others)):
            assert service.call("DELETE", f"/v1/jobs/{id}", headers=key).status_code == 404

        service.call("DELETE", f"/v1/jobs/{waiting}", headers=ann)
        assert look(ann, waiting)["status"] == "canceled"
        seconds = _seconds_to_stop(
            lambda: look(ann, running),
            lambda: service.call("DELETE", f"/v1/jobs/{running}", headers=ann),
        )
        assert seconds < whole / 4
        # the node itself has stopped: ComfyUI goes on with what is behind it
        assert look(bob, others, wait=100)["status"] == "succeeded"
        late = time.monotonic() + 100
        while not (told := requests.get(f"{comfyui_url}/history/{foreign_id}", timeout=30).json()):
            assert time.monotonic() < late
            time.sleep(0.1)
        assert told[foreign_id]["status"]["status_str"] == "success"


def test_image_inpainting_on_a_bare_machine(bare: Served) -> None:
    body = {"workflow": "inpaint", "parameters": {"steps": 2}}
    done = bare.call("POST", "/v1/jobs", json=body, params={"wait": 100})
    assert done.status_code == 200, done.text


@needs_sdk
def test_the_sdk_on_comfyui(comfyui_url: str, tmp_path: Path) -> None:
    with served(tmp_path / "data", ["--server", comfyui_url]) as service:
        service.wait_until_ready()
        _use_everything(service.url, tmp_path)


@needs_sdk
def test_the_sdk_on_three_servers(comfyui_url: str, engine_url: str, tmp_path: Path) -> None:
    with launch.engine() as another:
        servers = [comfyui_url, engine_url, another.url]
        options = [part for url in servers for part in ("--server", url)]
        with served(tmp_path / "data", options) as service:
            service.wait_until_ready()
            _use_everything(service.url, tmp_path)


def test_ctrl_c_ends_it_and_the_next_one_goes_on(tmp_path: Path) -> None:
    with served(tmp_path, ["--device", "cpu"]) as service:
        service.wait_until_ready()
        ids = [service.call("POST", "/v1/jobs", json=LONG_JOB).json()["job_id"] for _ in range(2)]
        short = {"prompt": "a key", "steps": 2, "seed": 5}
        ids.append(service.call("POST", "/v1/jobs", json=short).json()["job_id"])
        began = time.monotonic()
        assert service.end(signal.SIGINT) == 130
        assert time.monotonic() - began < 15
    with served(tmp_path, ["--device", "cpu"]) as service:
        service.wait_until_ready()
        for id in ids[:2]:
            service.call("DELETE", f"/v1/jobs/{id}")
        done = service.call("GET", f"/v1/jobs/{ids[2]}", params={"wait": 100}).json()
        assert done["status"] == "succeeded"
        assert service.end(signal.SIGTERM) == 143


def test_a_kill_leaves_no_engine_for_long(tmp_path: Path) -> None:
    with served(tmp_path, ["--device", "cpu"]) as service:
        service.wait_until_ready()
        id = service.call("POST", "/v1/jobs", json=LONG_JOB).json()["job_id"]
        late = time.monotonic() + 60
        while service.call("GET", f"/v1/jobs/{id}").json()["status"] != "running":
            assert time.monotonic() < late
            time.sleep(0.05)
        engines = psutil.Process(service.process.pid).children(recursive=True)
        assert engines
        service.kill()
    with served(tmp_path, ["--device", "cpu"]) as service:
        service.wait_until_ready()
        gone, alive = psutil.wait_procs(engines, timeout=5)
        assert not alive, gone
        # its job begins again
        job = service.call("GET", f"/v1/jobs/{id}").json()
        assert job["status"] in ("queued", "running")
        service.call("DELETE", f"/v1/jobs/{id}")
        done = service.call("GET", f"/v1/jobs/{id}", params={"wait": 30}).json()
        assert done["status"] == "canceled"


def _fails(data: Path, *options: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "orchestrator", "serve", "--data", str(data), *options]
    ended = subprocess.run(
        command, capture_output=True, text=True, env=python_environment(), timeout=100, check=False
    )
    return ended.returncode, ended.stderr


def test_it_refuses_to_let_strangers_in(tmp_path: Path) -> None:
    code, told = _fails(tmp_path, "--host", "0.0.0.0", "--port", "0")
    assert code == 2
    assert "spriteworks keys create" in told


def test_one_service_a_folder(tmp_path: Path) -> None:
    with served(tmp_path, ["--server", "http://127.0.0.1:9"]) as service:
        code, told = _fails(tmp_path, "--port", "0")
        assert code == 2
        assert "another" in told
        port = service.url.rpartition(":")[2]
        code, told = _fails(tmp_path / "other", "--port", port, "--server", "http://127.0.0.1:9")
        assert code == 3
        assert "already in use" in told
        assert service.call("GET", "/ready").status_code == 503
        assert service.call("GET", "/health").status_code == 200
        refused = service.call("POST", "/v1/jobs", json={"prompt": "x"})
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "deployment_not_ready"
        assert refused.headers["Retry-After"]
