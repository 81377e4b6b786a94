"""Measures what a batch costs besides the servers' own work; see docs/batch-results.md.

    python scripts/bench_batch_run.py                    # the fake server, 1,000 jobs of 50 ms
    python scripts/bench_batch_run.py --engine --jobs 200
    python scripts/bench_batch_run.py --jobs 300 --beside drip:history flood:ws
    python scripts/bench_batch_run.py --comfyui ~/comfy/ComfyUI --jobs 200

Prints one JSON object. Servers run in processes of their own. How long the fake server sat idle
while jobs were waiting is measured inside it: from the moment its queue was empty to the next job.
For real servers it is taken from their history: from one job's end to the next one's start.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import requests

from orchestrator.batch import production as batch
from orchestrator.batch.execution.fleet import Care
from orchestrator.client.wire import Timeouts
from orchestrator.local import launch
from orchestrator.local.serving import Choice
from orchestrator.protocol import Graph, new_prompt_id
from orchestrator.testing import FakeServer
from orchestrator.testing.hostile import Attack, hostile

# The pause of the bare loop between two looks into the history, in s.
_LOOK = 0.005


# So that a batch beside a bad server ends soon; until then the good one works as with any.
_HASTY = Care(
    timeouts=Timeouts(connect=1.0, read=2.0, total=4.0, transfer=4.0, lost_after=2.0), grace=2.0
)

# px, the edge of the pictures; set once, before anything is measured
_edge = 64


def graph_of(number: int) -> Graph:
    """The trivial graph: one picture of one colour, saved."""
    size = {"width": _edge, "height": _edge, "batch_size": 1}
    return {
        "1": {"class_type": "EmptyImage", "inputs": {**size, "color": number}},
        "2": {
            "class_type": "SaveImage",
            "inputs": {"images": ["1", 0], "filename_prefix": f"bench-{number}"},
        },
    }


# ------------------------------------------------------------------------ the fake server


class _Timed(FakeServer):
    """Notes how long its worker found no job, between the first and the last one."""

    def __init__(self) -> None:
        self.waited: list[float] = []
        self.began: list[float] = []
        super().__init__()

    def _next_job(self) -> Any:
        since = time.perf_counter()
        had_one = bool(self._pending)
        job = super()._next_job()
        now = time.perf_counter()
        self.waited.append(0.0 if had_one else now - since)
        self.began.append(now)
        return job


def _serve(pipe: Connection, seconds: float) -> None:
    server = _Timed()
    server.pace = seconds / len(graph_of(0))
    pipe.send(server.url)
    while True:
        # Each message begins a new measurement; the answer is that of the last one.
        pipe.recv()
        began, waited = server.began, server.waited
        pipe.send(
            {
                "jobs": len(began),
                "idle_s": sum(waited[1 : len(began)]),
                "span_s": began[-1] - began[0] if began else 0.0,
                "jobs_per_s": _rate(began),
            }
        )
        server.began, server.waited = [], []


def _rate(began: list[float]) -> float:
    """Jobs a second over the first half: then it may have to wait for what others hold."""
    many = len(began) // 2
    return round(many / (began[many] - began[0]), 3) if many else 0.0


@dataclass
class Fake:
    """A fake server in a process of its own."""

    url: str
    pipe: Connection

    def measured(self) -> dict[str, float]:
        """What it did since this was asked last."""
        self.pipe.send("measure")
        found: dict[str, float] = self.pipe.recv()
        return found


@contextmanager
def fakes(count: int, seconds: float) -> Iterator[list[Fake]]:
    """Run fake servers whose jobs take `seconds`."""
    context = multiprocessing.get_context("spawn")
    processes, found = [], []
    for _ in range(count):
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, seconds), daemon=True)
        process.start()
        processes.append(process)
        found.append(Fake(url=ours.recv(), pipe=ours))
    try:
        yield found
    finally:
        for process in processes:
            process.kill()
            process.join()


# --------------------------------------------------------------------------- measurements


class _Silent:
    def happened(self, kind: str, **details: Any) -> None:
        """Take note of nothing."""


def batch_run(urls: list[str], jobs: int, first: int, care: Care | None = None) -> dict[str, float]:
    """Run `jobs` jobs as a batch; wall and CPU time are those from the first to the last one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "graph.json").write_text(json.dumps(graph_of(0)), encoding="utf-8")
        items = [{"id": f"dot-{n}", "set": {"1.color": first + n}} for n in range(jobs)]
        text = {"name": "bench", "workflow": "graph.json", "items": items}
        manifest = folder / "bench.yaml"
        manifest.write_text(json.dumps(text), encoding="utf-8")
        request = batch.BatchRequest(
            manifest=manifest,
            out=folder / "out",
            choice=Choice(urls=tuple(urls)),
            care=care or Care(),
        )
        # Planning is measured elsewhere.
        batch.plan(request)
        wall, cpu = time.monotonic(), time.process_time()
        result = batch.run(request, _Silent())
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        assert result.is_complete
        return {
            "wall_s": round(wall, 3),
            "jobs_per_s": round(jobs / wall, 2),
            "cpu_ms_per_job": round(1000 * cpu / jobs, 3),
        }


def bare_loop(url: str, jobs: int, first: int, patience: float = _LOOK) -> dict[str, float]:
    """Post, look until it is there, download, one after the other: what a script would do.

    With `patience` s above what a job takes it is the least that can be done: three requests.
    """
    session = requests.Session()
    session.trust_env = False
    with tempfile.TemporaryDirectory() as name:
        wall, cpu = time.monotonic(), time.process_time()
        for number in range(first, first + jobs):
            body = {"prompt": graph_of(number), "prompt_id": new_prompt_id()}
            prompt_id = session.post(f"{url}/prompt", json=body).json()["prompt_id"]
            time.sleep(patience)
            while not (found := session.get(f"{url}/history/{prompt_id}").json()):
                time.sleep(patience)
            file = found[prompt_id]["outputs"]["2"]["images"][0]
            content = session.get(f"{url}/view", params=file).content
            (Path(name) / file["filename"]).write_bytes(content)
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    return {
        "wall_s": round(wall, 3),
        "jobs_per_s": round(jobs / wall, 2),
        "cpu_ms_per_job": round(1000 * cpu / jobs, 3),
    }


def on_fakes(jobs: int, seconds: float) -> dict[str, Any]:
    """The bare loop, one server and two servers."""
    with fakes(2, seconds) as servers:
        one, two = servers
        bare = bare_loop(one.url, jobs, first=1)
        bare["idle_percent"] = _idle([one.measured()])
        least = bare_loop(one.url, jobs, first=500_001, patience=1.2 * seconds)
        one.measured()
        single = batch_run([one.url], jobs, first=1_000_001)
        single["idle_percent"] = _idle([one.measured()])
        double = batch_run([one.url, two.url], jobs, first=2_000_001)
        double["idle_percent"] = _idle([one.measured(), two.measured()])
    own = single["cpu_ms_per_job"] - least["cpu_ms_per_job"]
    return {
        "bare_loop": bare,
        "three_requests_cpu_ms": least["cpu_ms_per_job"],
        "one_server": single,
        "two_servers": double,
        "own_cpu_ms_per_job": round(own, 3),
        "two_over_one": round(double["jobs_per_s"] / single["jobs_per_s"], 3),
        "one_over_bare": round(single["jobs_per_s"] / bare["jobs_per_s"], 3),
    }


def _serve_attacked(pipe: Connection, attack: str) -> None:
    kind, _, route = attack.partition(":")
    with (
        FakeServer() as fake,
        hostile(fake.url, Attack(kind=kind, route=rf"/{route}\b")) as proxy,  # type: ignore[arg-type]
    ):
        pipe.send(proxy.url)
        pipe.recv()


@contextmanager
def _attacked(attack: str) -> Iterator[str]:
    """A server under attack in a process of its own: what a flood costs it is not ours."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve_attacked, args=(theirs, attack), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.kill()
        process.join()


def beside(jobs: int, seconds: float, attacks: list[str]) -> dict[str, Any]:
    """A good server's rate alone, and beside one under each attack; alone again in between."""
    found: dict[str, Any] = {}
    with fakes(1, seconds) as (good,):
        first = 1
        for attack in attacks:
            batch_run([good.url], jobs, first)
            alone = good.measured()["jobs_per_s"]
            with _attacked(attack) as url:
                batch_run([url, good.url], jobs, first + jobs, _HASTY)
            measured = good.measured()
            found[attack] = {
                "alone_jobs_per_s": alone,
                "beside_jobs_per_s": measured["jobs_per_s"],
                "ratio": round(measured["jobs_per_s"] / alone, 3),
                "good_ones_jobs": measured["jobs"],
            }
            first += 2 * jobs
    return found


def _idle(measured: list[dict[str, float]]) -> float:
    """The largest share of time that a server sat idle, in percent."""
    return round(max(100 * one["idle_s"] / one["span_s"] for one in measured), 2)


def on_server(url: str, jobs: int) -> dict[str, Any]:
    """The bare loop and a batch on one real server."""
    # What the first job loads is nobody's overhead.
    bare_loop(url, 3, first=1)
    bare = bare_loop(url, jobs, first=100_001)
    bare["idle_percent"] = _idle_in_history(url)
    single = batch_run([url], jobs, first=200_001)
    single["idle_percent"] = _idle_in_history(url)
    return {
        "bare_loop": bare,
        "one_server": single,
        "one_over_bare": round(single["jobs_per_s"] / bare["jobs_per_s"], 3),
    }


def _idle_in_history(url: str) -> float:
    """The share of time between the runs in the history, which is then emptied, in percent."""
    history = requests.get(f"{url}/history").json()
    requests.post(f"{url}/history", json={"clear": True})
    runs = []
    for entry in history.values():
        stamps = {name: data["timestamp"] for name, data in entry["status"]["messages"]}
        runs.append((stamps["execution_start"], stamps["execution_success"]))
    runs.sort()
    gaps = [max(0, after[0] - before[1]) for before, after in itertools.pairwise(runs)]
    return round(100 * sum(gaps) / max(1, runs[-1][1] - runs[0][0]), 2)


def main() -> None:
    global _edge
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=0.05, help="of a job on the fake server")
    parser.add_argument("--engine", action="store_true", help="measure the engine instead")
    parser.add_argument("--comfyui", type=Path, help="measure the ComfyUI of this folder instead")
    parser.add_argument("--edge", type=int, default=_edge, help="of the pictures, in pixels")
    parser.add_argument(
        "--beside",
        nargs="+",
        default=[],
        metavar="KIND:ROUTE",
        help="measure a good server beside one under attack: drip:history flood:ws stall:view ...",
    )
    options = parser.parse_args()
    _edge = options.edge
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    with ExitStack() as stack:
        if options.engine or options.comfyui:
            server = launch.comfyui(options.comfyui) if options.comfyui else launch.engine()
            found = on_server(stack.enter_context(server).url, options.jobs)
        elif options.beside:
            found = beside(options.jobs, options.seconds, options.beside)
        else:
            found = on_fakes(options.jobs, options.seconds)
    about = {
        "jobs": options.jobs,
        "edge": options.edge,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_before": load,
    }
    json.dump({**about, **found}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
