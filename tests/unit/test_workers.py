"""A service whose requests workers make, as if their servers were the service's own."""

from __future__ import annotations

from pathlib import Path

from orchestrator.testing import FakeServer
from service_world import graph, until
from worker_world import cluster


def test_a_worker_makes_what_the_service_takes(tmp_path: Path) -> None:
    with FakeServer() as fake, cluster(tmp_path, fake.url) as world:
        assert world.call("GET", "/ready").status_code == 200
        ended = world.ended(world.post(graph()).json()["id"])
        assert ended["status"] == "succeeded", ended
        (output,) = ended["outputs"]
        picture = world.call("GET", f"/api/v2/assets/{output['id']}/content")
        assert picture.content.startswith(b"\x89PNG")
        (server,) = world.call("GET", "/v1/servers").json()["servers"]
        assert server["open"]
        assert server["device"]
        until(
            lambda: world.call("GET", "/v1/servers").json()["servers"][0]["done"], lambda n: n == 1
        )
