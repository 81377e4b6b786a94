"""A server's memory, watched from outside while a job runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.errors import ServerLost
from orchestrator.local.process import free_port
from orchestrator.memory import Meter, Phase, Use, phases_of, process_of, reports_in
from orchestrator.protocol import Executing, SystemStats
from orchestrator.testing import FakeServer
from orchestrator.testing.http import HttpAnswer, HttpRequest, json_answer
from orchestrator.workflow.catalogue import Catalogue

GIB = 1 << 30
REPOSITORY = Path(__file__).resolve().parent.parent.parent
CATALOGUE = Catalogue(
    json.loads(
        (REPOSITORY / "tests" / "data" / "canvas" / "object_info.json").read_text(encoding="utf-8")
    )
)


class GpuServer(FakeServer):
    """A fake whose GPU holds as much as the test says."""

    def __init__(self) -> None:
        self.held = GIB
        super().__init__()

    def _get_system_stats(self, request: HttpRequest, rest: str) -> HttpAnswer:
        device = {"name": "cuda:0 Fake", "type": "cuda", "torch_vram_total": self.held}
        system = {"comfyui_version": "0.3.64", "ram_total": 8 * GIB, "ram_free": 6 * GIB}
        return json_answer({"system": system, "devices": [device]})


@pytest.fixture
def gpu() -> Iterator[GpuServer]:
    with GpuServer() as server:
        yield server


def graph_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (REPOSITORY / "workflows" / "api" / f"{name}.json").read_text(encoding="utf-8")
    )
    return found


def by_class(name: str) -> dict[str, Phase]:
    graph = graph_of(name)
    return {graph[key]["class_type"]: phase for key, phase in phases_of(graph, CATALOGUE).items()}


def test_every_node_of_a_workflow_has_its_phase() -> None:
    found = by_class("inpaint")
    assert found["SpriteworksDiffusersLoader"] is Phase.LOAD
    assert found["CLIPTextEncode"] is Phase.ENCODE
    assert found["KSampler"] is Phase.SAMPLE
    assert found["VAEDecode"] is Phase.DECODE
    assert found["SpriteworksInpaintStitch"] is Phase.OTHER
    assert by_class("batch")["SpriteworksSeedBatch"] is Phase.OTHER


def watch(meter: Meter, node: str | None) -> None:
    """Tell of a node, and wait until the meter has looked since."""
    meter.observe(Executing(prompt_id="", node=node))
    before = meter.use().looks
    while meter.use().looks < before + 2:
        meter.observe(Executing(prompt_id="", node=node))


def test_the_peak_of_each_phase_is_what_the_server_told_in_it(gpu: GpuServer) -> None:
    graph = graph_of("sprite")
    stats = SystemStats(kind="comfyui", version="", device="", device_type="cuda")
    ids = {node["class_type"]: key for key, node in graph.items()}
    with Meter(gpu.url, graph, CATALOGUE, stats) as meter:
        watch(meter, ids["SpriteworksDiffusersLoader"])
        gpu.held = 3 * GIB
        watch(meter, ids["KSampler"])
        gpu.held = 5 * GIB
        watch(meter, ids["VAEDecode"])
        gpu.held = 2 * GIB
        watch(meter, None)
    use = meter.use()
    assert use.before.device == GIB
    assert use.peak == Use(device=5 * GIB, process=use.peak.process, system=2 * GIB)
    # A look that was on its way when a node ended may still count for it.
    assert use.phases[Phase.LOAD].device in (GIB, 3 * GIB)
    assert use.phases[Phase.DECODE].device == 5 * GIB
    assert set(use.phases) == {Phase.LOAD, Phase.SAMPLE, Phase.DECODE}
    assert json.loads(json.dumps(use.to_json()))["phases"]["decode"]["device"] == 5 * GIB


def test_a_server_that_is_gone_fails_nothing() -> None:
    stats = SystemStats(kind="comfyui", version="", device="", device_type="cuda")
    with Meter(f"http://127.0.0.1:{free_port()}", {}, {}, stats) as meter:
        meter.observe(Executing(prompt_id="", node="1"))
    assert meter.use().peak == Use()


def test_the_job_s_own_error_passes(gpu: GpuServer) -> None:
    stats = SystemStats(kind="comfyui", version="", device="", device_type="cuda")
    with pytest.raises(ServerLost), Meter(gpu.url, {}, {}, stats):
        raise ServerLost("gone")


def test_the_process_behind_a_port_of_this_machine_is_found(gpu: GpuServer) -> None:
    assert process_of("http://example.org:8188") is None
    assert process_of(f"http://127.0.0.1:{free_port()}") is None
    found = process_of(gpu.url)
    # Listing the connections of all programs is not allowed everywhere.
    assert found is None or found.pid == os.getpid()


def test_the_process_of_a_server_that_we_started_is_found() -> None:
    listen = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); "
        "print(s.getsockname()[1], flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", listen], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        port = child.stdout.readline().strip()
        assert process_of(f"http://127.0.0.1:{port}") == psutil.Process(child.pid)
        child.kill()


def test_the_reports_of_our_nodes_are_read_from_the_record() -> None:
    outputs = {"9": {"images": []}, "12": {"memory": [{"label": "a", "process": 7}]}, "13": None}
    assert reports_in(outputs) == [{"node": "12", "label": "a", "process": 7}]
