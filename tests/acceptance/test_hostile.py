"""Servers that drip, stall, flood, truncate, nest, swap and lie, while a good one does its work.

Every attack on every route that a batch takes, before, during and after a run; all side by side.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.batch import production
from orchestrator.batch.execution.fleet import Care
from orchestrator.batch.logic.pace import PaceBounds
from orchestrator.client.foreign import backoff
from orchestrator.client.wire import Timeouts
from orchestrator.local.process import python_environment
from orchestrator.local.serving import Choice
from orchestrator.runs.looking import look
from orchestrator.testing import FakeServer
from orchestrator.testing.hostile import Attack, hostile

GRAPH: dict[str, Any] = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 6, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
ITEMS = 12
BEFORE, DURING, AFTER = ("system_stats", "object_info"), ("prompt", "history", "queue"), ("view",)
HTTP = (*BEFORE, *DURING, *AFTER)

# What comes instead of an answer, and where.
ATTACKS = [
    *(("drip", route) for route in (*HTTP, "ws")),
    *(("stall", route) for route in (*HTTP, "ws")),
    *(("flood", route) for route in ("object_info", "history", "view", "ws")),
    *(("truncate", route) for route in ("object_info", "prompt", "history", "view", "ws")),
    *(("nest", route) for route in ("object_info", "prompt", "history", "queue", "ws")),
    *(("swap", route) for route in ("history", "view")),
    *(("length", route) for route in ("history", "view")),
    *(("html", route) for route in ("system_stats", "object_info", "prompt", "history", "view")),
    *(("types", route) for route in ("object_info", "history", "queue", "ws")),
    *(("reset", route) for route in ("prompt", "history", "view", "ws")),
]
# Those whose whole weight falls on one run of the command, and what it may end with: 3 for the
# server, 4 for the job, also one that is late; a WebSocket is a hint, so nothing is lost with it.
RUNS = [
    ("drip", "system_stats", {3, 4}),
    ("stall", "object_info", {3, 4}),
    ("drip", "prompt", {3, 4}),
    ("stall", "history", {3, 4}),
    ("nest", "history", {3, 4}),
    ("swap", "view", {0, 4}),
    ("drip", "view", {3, 4}),
    ("flood", "view", {3, 4}),
    ("flood", "ws", {0}),
    ("stall", "ws", {0}),
    ("html", "object_info", {3}),
]
# s; opening a WebSocket that says nothing is given up after 5
TIMEOUT = 8.0
# A busy machine may take a while to start Python; what is judged is that nothing waits for ever.
SLACK = 25.0
QUICK = Timeouts(
    connect=1.0,
    read=1.0,
    total=2.0,
    transfer=2.0,
    poll=0.2,
    lost_polls=3,
    lost_after=0.8,
    delays=lambda: backoff(0.05, 0.5),
)
CARE = Care(timeouts=QUICK, grace=0.5, patience=PaceBounds(first=5.0, least=3.0))


def attack(kind: Any, route: str) -> Attack:
    return Attack(kind=kind, route=rf"/{route}\b", pace=0.5)


@dataclass
class Ended:
    """How one case ended."""

    seconds: float
    # pictures that are there and whole
    pictures: int
    # exit code, or what was raised
    how: Any
    said: str = ""


class Deaf:
    def happened(self, kind: str, **details: Any) -> None:
        """Take note of nothing."""


def make_batch(kind: str, route: str, folder: Path) -> Ended:
    """A batch on a server under attack and on a good one."""
    folder.mkdir()
    (folder / "graph.json").write_text(json.dumps(GRAPH), encoding="utf-8")
    manifest = folder / "batch.yaml"
    items = [{"id": f"n{n}", "set": {"1.color": n}} for n in range(ITEMS)]
    manifest.write_text(
        json.dumps({"name": "b", "workflow": "graph.json", "items": items}), encoding="utf-8"
    )
    begin = time.monotonic()
    with (
        FakeServer() as good,
        FakeServer() as bad,
        hostile(bad.url, attack(kind, route)) as proxy,
    ):
        request = production.BatchRequest(
            manifest=manifest,
            out=folder / "out",
            choice=Choice(urls=(proxy.url, good.url)),
            care=CARE,
        )
        how: Any = production.run(request, Deaf())
    seconds = time.monotonic() - begin
    pictures = [path for path in (folder / "out").glob("*.png") if look(path).width == 8]
    return Ended(seconds=seconds, pictures=len(pictures), how=how)


def make_run(kind: str, route: str, folder: Path) -> Ended:
    """One `spriteworks run` on a server under attack."""
    folder.mkdir()
    graph, out = folder / "graph.json", folder / "out"
    graph.write_text(json.dumps(GRAPH), encoding="utf-8")
    with FakeServer() as bad, hostile(bad.url, attack(kind, route)) as proxy:
        words = ["run", graph, "--server", proxy.url, "--out", out, "--timeout", TIMEOUT]
        begin = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator", *map(str, words)],
            env={**python_environment(), "PATH": ""},
            capture_output=True,
            encoding="utf-8",
            timeout=90,
            check=False,
        )
        seconds = time.monotonic() - begin
    pictures = len(list(out.glob("*.png")))
    return Ended(seconds=seconds, pictures=pictures, how=done.returncode, said=done.stderr)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Ended]]]:
    """Every case, under way side by side."""
    place = tmp_path_factory.mktemp("hostile")
    with ThreadPoolExecutor(12) as pool:
        found = {}
        for kind, route in ATTACKS:
            name = f"batch {kind} {route}"
            found[name] = pool.submit(make_batch, kind, route, place / name.replace(" ", "-"))
        for kind, route, _ in RUNS:
            name = f"run {kind} {route}"
            found[name] = pool.submit(make_run, kind, route, place / name.replace(" ", "-"))
        yield found


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("kind", "route"), ATTACKS)
def test_a_batch_is_made_whole_by_the_good_server(
    kind: str, route: str, cases: dict[str, Future[Ended]]
) -> None:
    ended = cases[f"batch {kind} {route}"].result(240)
    assert ended.how.is_complete, ended.how.words
    assert ended.pictures == ITEMS
    assert ended.seconds < 60


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("kind", "route", "codes"), RUNS)
def test_a_run_ends_in_time_and_says_why(
    kind: str, route: str, codes: set[int], cases: dict[str, Future[Ended]]
) -> None:
    ended = cases[f"run {kind} {route}"].result(240)
    assert ended.how in codes, ended.said
    assert ended.seconds < TIMEOUT + SLACK
    assert "Traceback" not in ended.said
    assert ended.pictures == (1 if ended.how == 0 else 0)
    if ended.how:
        assert re.search(r"^error: \S.*", ended.said, re.MULTILINE)
