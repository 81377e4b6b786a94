"""The service with its record in PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from orchestrator.testing import FakeServer
from service_world import graph, serving


def test_jobs_are_taken_once_made_and_found_again(tmp_path: Path, postgres_url: str) -> None:
    with FakeServer() as fake:
        with serving(tmp_path, [fake.url], store=postgres_url) as world:
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda _: world.post(graph(), key="storm"), range(16)))
            taken = {one.json()["id"] for one in answers if one.ok}
            assert len(taken) == 1
            ids = [
                world.post(graph(color=one), metadata={"n": str(one)}).json()["id"]
                for one in range(5)
            ]
            jobs = [world.ended(id) for id in ids]
            assert [job["status"] for job in jobs] == ["succeeded"] * 5
            found = world.call("GET", "/api/v2/jobs", params={"metadata[n]": "3"}).json()
            assert [one["id"] for one in found["jobs"]] == [ids[3]]
            page = world.call("GET", "/api/v2/jobs", params={"status": "succeeded", "limit": 3})
            assert len(page.json()["jobs"]) == 3
            assert 'spriteworks_jobs{status="succeeded"} 6' in world.call("GET", "/metrics").text
        with serving(tmp_path, [fake.url]) as world:
            again = world.job(ids[0])["outputs"]
            assert [one["id"] for one in again] == [one["id"] for one in jobs[0]["outputs"]]
            later = world.service._clock() + 8 * 86_400
            world.service._clock = world.service.assets._clock = lambda: later
            assert world.service.tidy() == 6
