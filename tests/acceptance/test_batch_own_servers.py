"""Servers that a batch starts itself: one a GPU, restarted when worn out, gone with us.

The ComfyUI here is a folder whose main.py is the fake server, so that it starts in a moment.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.batch import production as batch
from orchestrator.batch.execution.fleet import Care
from orchestrator.batch.execution.store.store import Store
from orchestrator.local.process import python_environment
from orchestrator.local.serving import Choice

GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
MAIN = """
import json, os, sys, threading
sys.path.insert(0, {repository!r})
from orchestrator.testing import FakeServer

seen = {{"gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "arguments": sys.argv[1:]}}
with open({seen!r}, "a", encoding="utf-8") as stream:
    print(json.dumps(seen), file=stream)
server = FakeServer(port=int(sys.argv[sys.argv.index("--port") + 1]))
server.pace = 0.01
ballast = []
while True:
    threading.Event().wait(0.005)
    # Each job leaves some memory behind.
    while {leak} and len(ballast) < len(server.submissions):
        ballast.append(b"x" * {leak})
"""


class Told:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def happened(self, kind: str, **details: Any) -> None:
        if kind == "note":
            self.notes.append(details["text"])


@pytest.fixture
def comfyui(tmp_path: Path, repository: Path) -> Callable[..., Path]:
    def make(leak: int = 0) -> Path:
        folder = tmp_path / "ComfyUI"
        (folder / "comfy").mkdir(parents=True)
        seen = str(folder / "seen.jsonl")
        text = MAIN.format(repository=str(repository), seen=seen, leak=leak)
        (folder / "main.py").write_text(text, encoding="utf-8")
        return folder

    return make


def manifest(folder: Path, count: int) -> Path:
    (folder / "graph.json").write_text(json.dumps(GRAPH), encoding="utf-8")
    items = [{"id": f"dot-{n}", "set": {"1.color": n}, "output": "{id}"} for n in range(count)]
    path = folder / "dots.yaml"
    text = {"name": "dots", "workflow": "graph.json", "items": items}
    path.write_text(json.dumps(text), encoding="utf-8")
    return path


def seen(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "seen.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_each_gpu_has_a_server_that_sees_no_other(
    tmp_path: Path, comfyui: Callable[..., Path]
) -> None:
    folder, out = comfyui(), tmp_path / "out"
    arguments = ["batch", "run", str(manifest(tmp_path, 40)), "--out", str(out)]
    arguments += ["--comfyui", str(folder), "--gpus", "0,3"]
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", *arguments],
        env={**os.environ, **python_environment()},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(list(out.glob("*.png"))) == 40
    assert sorted(one["gpu"] for one in seen(folder)) == ["0", "3"]
    servers = batch.status(out)["timings"]["servers"]
    assert set(servers) == {"comfyui-gpu0", "comfyui-gpu3"}
    assert sum(one["pictures"] for one in servers.values()) == 40


@pytest.mark.parametrize(
    ("care", "leak", "words"),
    [
        ({"recycle": 1}, 0, "comfyui is started anew: it has run 1 graph"),
        ({"recycle": 6}, 0, "comfyui is started anew: it has run 6 graphs"),
        ({"recycle_growth": 24}, 8 << 20, "comfyui is started anew: it has grown by"),
    ],
)
def test_a_worn_out_server_is_started_anew(
    tmp_path: Path, comfyui: Callable[..., Path], care: dict[str, int], leak: int, words: str
) -> None:
    folder, out = comfyui(leak), tmp_path / "out"
    request = batch.BatchRequest(
        manifest=manifest(tmp_path, 20),
        out=out,
        choice=Choice(comfyui=folder),
        care=replace(Care(), **care),
    )
    told = Told()
    assert batch.run(request, told).is_complete
    assert {path.name for path in out.glob("*.png")} == {f"dot-{n}.png" for n in range(20)}
    restarts = [note for note in told.notes if note.startswith(words)]
    assert restarts
    assert len(seen(folder)) == len(restarts) + 1
    if "recycle" in care:
        # Each has run so many and not one more, and none was started for nothing.
        assert len(seen(folder)) == math.ceil(20 / care["recycle"])
    with Store.open(out) as store:
        # No job was lost with its server.
        tried = [len(store.attempts_of(entry.job.key)) for entry in store.entries()]
        assert tried == [1] * 20
        assert json.loads(store.fact("processes") or "{}") == {}


def test_a_server_goes_with_a_run_that_is_killed(
    tmp_path: Path, comfyui: Callable[..., Path]
) -> None:
    out = tmp_path / "out"
    arguments = ["batch", "run", str(manifest(tmp_path, 5000)), "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator", *arguments, "--comfyui", str(comfyui())],
        env={**os.environ, **python_environment()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    late = time.monotonic() + 60
    while not list(out.glob("*.png")):
        assert time.monotonic() < late
        assert process.poll() is None
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []
