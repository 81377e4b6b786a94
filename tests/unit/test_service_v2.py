"""Comfy API v2, over fake servers, as a client without any SDK sees it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.testing import FakeServer
from service_world import World, graph, serving


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as fake:
        yield fake


@pytest.fixture
def world(tmp_path: Path, fake: FakeServer) -> Iterator[World]:
    with serving(tmp_path, [fake.url]) as world:
        yield world


def test_a_job_runs_and_its_picture_is_an_asset(world: World) -> None:
    posted = world.post(graph(), metadata={"client": "acme"})
    assert posted.status_code == 201, posted.text
    job = world.ended(posted.json()["id"])
    assert job["status"] == "succeeded", job
    assert job["metadata"] == {"client": "acme"}
    (output,) = job["outputs"]
    assert output["name"] == "sprite_00001_.png"
    assert (output["node_id"], output["type"], output["content_type"]) == (
        "2",
        "image",
        "image/png",
    )
    content = world.session.get(output["url"])
    assert len(content.content) == output["size_bytes"]
    assert job["created_at"] <= job["started_at"] <= job["completed_at"] < job["expires_at"]
    assert job["metrics"]["queue_ms"] >= 0
    assert job["metrics"]["execution_ms"] >= 0
    assert job["progress"]["value"] == 1.0
    assert job["queue_position"] is None
