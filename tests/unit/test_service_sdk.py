"""comfy-sdk, unchanged, against the service on fake servers."""

from __future__ import annotations

from pathlib import Path

import pytest

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


@pytest.mark.parametrize("count", [50, pytest.param(500, marks=pytest.mark.slow)])
def test_quick_jobs_end_as_what_they_were(tmp_path: Path, count: int) -> None:
    with FakeServer() as fake, serving(tmp_path, [fake.url]) as world:
        with pointed_at(world.url) as client:
            jobs = [
                client.submit(
                    client.workflows.from_json(graph(color=number)), metadata={"n": str(number)}
                )
                for number in range(count)
            ]
            ended = [job.wait(timeout=60) for job in jobs]
        assert [job.status for job in ended] == ["succeeded"] * count
        assert [job.metadata["n"] for job in ended] == [str(number) for number in range(count)]
        assert len({job.outputs[0].id for job in ended}) == count
        sizes = {len(content) for content in fake.files.values()}
        assert {job.outputs[0].size_bytes for job in ended} <= sizes
        for job in ended:
            told = world.job(job.id)
            assert told["created_at"] <= told["started_at"] <= told["completed_at"]
