"""Whatever is sent, no answer is a 500, nothing hangs, and what is asked for next is still done."""

from __future__ import annotations

import http.client
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from PIL import Image

from hostile_requests import Hostile, to_the_engine, to_the_service
from orchestrator.client.client import Client
from orchestrator.testing import FakeServer
from service_world import serving

# s for any answer, on a machine that does other things too
PATIENCE = 60


def _picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA", (8, 8), "red").save(buffer, "PNG")
    return buffer.getvalue()


PICTURE = _picture()


@dataclass
class Started:
    """A server to attack."""

    port: int
    process: subprocess.Popen[str]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    root = tmp_path_factory.mktemp("attacked")
    for name in ("models/loras", "models/checkpoints", "input", "output"):
        (root / name).mkdir(parents=True)
    (root / "input" / "a.png").write_bytes(PICTURE)
    (root / "models" / "loras" / "bad.safetensors").write_bytes(b"no weights")
    command = [
        *(sys.executable, "-m", "orchestrator.engine", "--port", "0", "--device", "cpu"),
        *("--models", "models", "--input-directory", "input", "--output-directory", "output"),
    ]
    path = os.pathsep.join([str(Path(__file__).resolve().parents[2]), *sys.path])
    with (root / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command,
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        yield Started(int(url.rpartition(":")[2]), process, root / "log")
        process.terminate()
        process.wait(30)


def answer(port: int, hostile: Hostile) -> int:
    """The status of the answer; 0 where the server closed what was no request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.putrequest(
            hostile.method,
            hostile.target,
            skip_host="Host" in hostile.headers,
            skip_accept_encoding=True,
        )
        headers = {"Content-Length": str(len(hostile.body)), **hostile.headers}
        for name, value in headers.items():
            connection.putheader(name, value.encode("latin-1"))
        # A server that refuses the head may not wait for the body.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.endheaders(hostile.body)
            if int(headers["Content-Length"][:9].strip("-abc") or 0) > len(hostile.body):
                # what was promised does not come
                return 0
        answered = connection.getresponse()
        answered.read()
        return answered.status
    except (http.client.BadStatusLine, ConnectionResetError, BrokenPipeError):
        return 0
    finally:
        connection.close()


def attack_engine(engine: Started, hostile: Hostile) -> None:
    status = answer(engine.port, hostile)
    assert status < 500, hostile
    if status == 200 and hostile.target.endswith("/prompt"):
        # Some of what is sent can run; that takes time, and was checked elsewhere.
        answer(engine.port, Hostile("POST", "/queue", b'{"clear": true}'))
        answer(engine.port, Hostile("POST", "/interrupt"))
    assert engine.process.poll() is None


def still_well(engine: Started) -> None:
    """It makes a picture, and its log has no fault of ours."""
    graph: dict[str, Any] = {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": time.time_ns() % 255},
        },
        "2": {
            "class_type": "SaveImage",
            "inputs": {"images": ["1", 0], "filename_prefix": "after"},
        },
    }
    answer(engine.port, Hostile("POST", "/queue", b'{"clear": true}'))
    answer(engine.port, Hostile("POST", "/interrupt"))
    with Client(engine.url) as client:
        client.wait(client.submit(graph).prompt_id, timeout=PATIENCE)
    log = engine.log.read_text(encoding="utf-8")
    assert "Traceback" not in log, log[max(0, log.index("Traceback") - 500) :][:6000]


@settings(max_examples=300)
@given(hostile=to_the_engine(PICTURE))
def _few_at_the_engine(engine: Started, hostile: Hostile) -> None:
    attack_engine(engine, hostile)


def test_the_engine_survives_three_hundred(engine: Started) -> None:
    _few_at_the_engine(engine)
    still_well(engine)


@settings(max_examples=5000)
@given(hostile=to_the_engine(PICTURE))
def _many_at_the_engine(engine: Started, hostile: Hostile) -> None:
    attack_engine(engine, hostile)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_engine_survives_five_thousand(engine: Started) -> None:
    _many_at_the_engine(engine)
    still_well(engine)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_service_survives_a_thousand_jobs(tmp_path: Path) -> None:
    with FakeServer() as fake, serving(tmp_path / "data", [fake.url]) as world:
        port = int(world.url.rpartition(":")[2])

        @settings(max_examples=1000)
        @given(hostile=to_the_service())
        def attack(hostile: Hostile) -> None:
            assert answer(port, hostile) < 500, hostile

        attack()
        assert world.call("GET", "/health").status_code == 200
