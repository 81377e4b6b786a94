"""comfy-sdk, unchanged, against the service on fake servers."""

from __future__ import annotations

from pathlib import Path

from orchestrator.testing import FakeServer
from sdk_world import pointed_at, use_everything
from service_world import graph, serving


def test_every_method_works(tmp_path: Path) -> None:
    with FakeServer() as fake, serving(tmp_path / "data", [fake.url]) as world:
        use_everything(world.url, tmp_path, graph(), computes=False)


def test_every_method_works_on_three_servers(tmp_path: Path) -> None:
    with FakeServer() as one, FakeServer() as two, FakeServer() as three:
        urls = [one.url, two.url, three.url]
        with serving(tmp_path / "data", urls) as world:
            use_everything(world.url, tmp_path, graph(), computes=False)


def test_quick_jobs_end_as_what_they_were(tmp_path: Path) -> None:
    _run_many(tmp_path, 50)


def _run_many(folder: Path, count: int) -> None:
    with (
        FakeServer() as fake,
        serving(folder, [fake.url]) as world,
        pointed_at(world.url) as client,
    ):
        jobs = [
            client.submit(client.workflows.from_json(graph(color=number)))
            for number in range(count)
        ]
        ended = [job.wait(timeout=60).status for job in jobs]
        assert ended == ["succeeded"] * count
        assert len({job.outputs[0].id for job in jobs}) == count
