"""The service is killed at random moments; every job is made once, and every stream goes on."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from orchestrator.local.process import free_port
from orchestrator.testing import FakeServer
from served import Served

GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
LONG = 120.0


def _insist(method: str, url: str, **options: Any) -> requests.Response:
    """Ask until somebody answers, as a client does whose service comes back."""
    late = time.monotonic() + LONG
    while True:
        try:
            answer = requests.request(method, url, timeout=10, **options)
            if answer.status_code not in (409, 429, 503):
                return answer
        except requests.RequestException:
            assert time.monotonic() < late
        time.sleep(0.1)


def _post(url: str, number: int) -> str:
    graph = json.loads(json.dumps(GRAPH))
    graph["1"]["inputs"]["color"] = number
    answer = _insist(
        "POST",
        f"{url}/api/v2/jobs",
        json={"workflow": graph, "metadata": {"number": str(number)}},
        headers={"Idempotency-Key": f"job {number}"},
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def _watch(url: str, id: str) -> list[tuple[int, str, Any]]:
    """All that a stream tells, over as many connections as it takes."""
    seen: list[tuple[int, str, Any]] = []
    late = time.monotonic() + LONG
    while time.monotonic() < late:
        headers = {"Last-Event-ID": str(seen[-1][0])} if seen else {}
        try:
            with requests.get(
                f"{url}/api/v2/jobs/{id}/events", headers=headers, stream=True, timeout=45
            ) as answer:
                for one in _frames(answer.iter_lines(decode_unicode=True)):
                    seen.append(one)
                    if one[1] == "status" and one[2]["status"] in ("succeeded", "failed"):
                        return seen
        except requests.RequestException:
            time.sleep(0.1)
    raise AssertionError(seen)


def _frames(lines: Any) -> Iterator[tuple[int, str, Any]]:
    fields: dict[str, str] = {}
    for line in lines:
        if not line and "event" in fields:
            if "id" in fields:
                yield int(fields["id"]), fields["event"], json.loads(fields["data"])
            fields = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


@pytest.mark.parametrize(
    ("count", "kills"), [(40, 4), pytest.param(200, 20, marks=pytest.mark.slow)]
)
@pytest.mark.timeout(600)
def test_every_job_is_made_once(tmp_path: Path, count: int, kills: int) -> None:
    chance = random.Random(kills)
    port = free_port()
    with ExitStack() as stack:
        fakes = [stack.enter_context(FakeServer()) for _ in range(2)]
        for fake in fakes:
            fake.pace = 0.02
        options = [part for fake in fakes for part in ("--server", fake.url)]
        service = Served(tmp_path, *options, port=port)
        url = service.url
        ids: dict[int, str] = {}
        streams: dict[int, list[tuple[int, str, Any]]] = {}

        def post() -> None:
            for number in range(count):
                ids[number] = _post(url, number)

        def watch(number: int) -> None:
            while number not in ids:
                time.sleep(0.05)
            streams[number] = _watch(url, ids[number])

        watched = range(0, count, max(1, count // 8))
        threads = [threading.Thread(target=post)]
        threads += [threading.Thread(target=watch, args=(number,)) for number in watched]
        try:
            for thread in threads:
                thread.start()
            for _ in range(kills):
                time.sleep(chance.uniform(0.05, 1.5))
                service.kill()
                service = Served(tmp_path, *options, port=port)
            for thread in threads:
                thread.join(LONG)
                assert not thread.is_alive()
            jobs = [_ended(url, id) for id in ids.values()]
        finally:
            service.kill()
        assert len(set(ids.values())) == count
        assert [job["status"] for job in jobs] == ["succeeded"] * count
        assert [len(job["outputs"]) for job in jobs] == [1] * count
        assert len({job["outputs"][0]["id"] for job in jobs}) == count
        assert all(job["started_at"] and job["completed_at"] for job in jobs)
    assert sorted(streams) == list(watched)
    for told in streams.values():
        numbers = [number for number, _, _ in told]
        assert numbers == sorted(set(numbers))
        assert [kind for _, kind, _ in told].count("output") == 1


def _ended(url: str, id: str) -> dict[str, Any]:
    late = time.monotonic() + LONG
    while True:
        job: dict[str, Any] = _insist("GET", f"{url}/api/v2/jobs/{id}").json()
        if job["status"] in ("succeeded", "failed", "canceled"):
            return job
        assert time.monotonic() < late, job
        time.sleep(0.05)
