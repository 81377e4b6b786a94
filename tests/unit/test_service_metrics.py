"""Figures for Prometheus: well formed, right, and never falling where they count."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.service import metrics
from orchestrator.service.intake import Settings
from orchestrator.testing import FakeServer, Script
from service_world import World, graph, serving, until

# prometheus.io/docs/instrumenting/exposition_formats: a name, labels whose values are escaped
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
_SAMPLE = re.compile(
    rf"([a-z_][a-z0-9_]*)(\{{{_LABEL}(?:,{_LABEL})*\}})? (-?[0-9.]+(?:e[-+]?[0-9]+)?)"
)


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as fake:
        yield fake


def figures(world: World) -> dict[str, float]:
    """{name and labels: value}, each line of the answer looked at."""
    answer = world.call("GET", "/metrics")
    assert answer.headers["Content-Type"] == metrics.CONTENT_TYPE
    found: dict[str, float] = {}
    announced: dict[str, str] = {}
    assert answer.text.endswith("\n")
    for line in answer.text.splitlines():
        if line.startswith("# HELP "):
            assert line.split()[2] not in announced
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            announced[name] = kind
            assert name.endswith("_total") is (kind == "counter")
        else:
            sample = _SAMPLE.fullmatch(line)
            assert sample, line
            assert sample[1] in announced
            key = line.rpartition(" ")[0]
            assert key not in found
            found[key] = float(sample[3])
    return found


def test_they_are_right(tmp_path: Path, fake: FakeServer) -> None:
    with serving(tmp_path, [fake.url]) as world:
        fake.script(Script(fail_in="2"))
        for color in range(3):
            assert world.ended(world.post(graph(color=color)).json()["id"])["outputs"]
        found = figures(world)
    server = world.service.servers()[0][0].name
    assert found['spriteworks_jobs{status="succeeded"}'] == 3
    assert found['spriteworks_jobs{status="queued"}'] == 0
    assert found["spriteworks_queue_oldest_seconds"] == 0
    assert found[f'spriteworks_attempts_total{{server="{server}",outcome="done"}}'] == 3
    assert found[f'spriteworks_attempts_total{{server="{server}",outcome="failed"}}'] == 1
    assert found["spriteworks_retries_total"] == 1
    assert found["spriteworks_images_total"] == found["spriteworks_images_per_minute"] == 3
    assert found["spriteworks_files"] == 3
    assert found[f'spriteworks_server_open{{server="{server}"}}'] == 1
    assert found['spriteworks_node_runs_total{class="SaveImage"}'] >= 3


def test_counters_never_fall(tmp_path: Path, fake: FakeServer) -> None:
    with serving(tmp_path, [fake.url], settings=Settings(retention=60.0)) as world:
        clock = {"s": 0.0}
        now = world.service._clock
        world.service._clock = lambda: now() + clock["s"]
        before: dict[str, float] = {}
        for color in range(3):
            fake.script(Script(fail_in="2"))
            world.ended(world.post(graph(color=color)).json()["id"])
            clock["s"] += 120.0
            assert world.service.tidy() == 1
            found = figures(world)
            counters = {name: value for name, value in found.items() if "_total" in name}
            assert counters
            assert all(value >= before.get(name, 0.0) for name, value in counters.items())
            assert found["spriteworks_images_total"] == color + 1
            assert found["spriteworks_retries_total"] == color + 1
            assert found["spriteworks_files"] == 0
            assert set(before) <= set(counters)
            before = counters
    with serving(tmp_path, [fake.url]) as world:
        found = figures(world)
        assert {name: found[name] for name in before} == before


def test_what_waits_is_told(tmp_path: Path, fake: FakeServer) -> None:
    hold = threading.Event()
    fake.script(Script(gates={"2": hold}))
    with serving(tmp_path, [fake.url]) as world:
        for color in range(3):
            world.post(graph(color=color))
        fake.reached("2")
        found = until(
            lambda: figures(world), lambda found: found['spriteworks_jobs{status="running"}'] == 1
        )
        assert found['spriteworks_jobs{status="queued"}'] == 2
        assert found["spriteworks_queue_oldest_seconds"] > 0
        hold.set()


def test_names_of_servers_and_nodes_are_escaped() -> None:
    (_, _, line) = metrics._metric("x", "gauge", "words", [({"class": 'a"b\\c\nd'}, 1.0)])
    assert line == 'spriteworks_x{class="a\\"b\\\\c\\nd"} 1.0'
    assert _SAMPLE.fullmatch(line)


def test_prometheus_own_parser_reads_them(tmp_path: Path, fake: FakeServer) -> None:
    parser: Any = pytest.importorskip(
        "prometheus_client.parser", reason="needs pip install prometheus-client"
    )
    with serving(tmp_path, [fake.url]) as world:
        world.ended(world.post(graph()).json()["id"])
        text = world.call("GET", "/metrics").text
        families = {one.name: one for one in parser.text_string_to_metric_families(text)}
        read = {
            name: {tuple(one.labels.items()): one.value for one in family.samples}
            for name, family in families.items()
        }
    assert families["spriteworks_attempts"].type == "counter"
    assert read["spriteworks_jobs"][(("status", "succeeded"),)] == 1
    assert read["spriteworks_images"][()] == 1
