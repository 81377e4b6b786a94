"""Two keys on one service, over HTTP: many jobs of one do not hold up the other."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import requests

from orchestrator.local.process import python_environment
from orchestrator.testing import FakeServer, Script
from served import Served, served
from service_world import graph

MANY = 1000


def _key(data: Path, name: str) -> str:
    command = [sys.executable, "-m", "orchestrator", "keys", "create", name, "--data", str(data)]
    made = subprocess.run(
        [*command, "--json"], capture_output=True, check=True, env=python_environment()
    )
    return str(json.loads(made.stdout)["key"])


def _client(secret: str) -> requests.Session:
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {secret}"
    return session


def _post(service: Served, session: requests.Session, color: int) -> dict[str, Any]:
    body = {"workflow": graph(color=color)}
    answer = session.post(f"{service.url}/api/v2/jobs", json=body, timeout=30)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_a_thousand_jobs_delay_another_keys_first_by_one_a_server(tmp_path: Path) -> None:
    hold = threading.Event()
    with FakeServer() as one, FakeServer() as two:
        for fake in (one, two):
            fake.script(Script(gates={"2": hold}))
        many, few = (_client(_key(tmp_path, name)) for name in ("many", "few"))
        try:
            with served(tmp_path, ["--server", one.url, "--server", two.url]) as service:
                service.wait_until_ready()
                for color in range(MANY):
                    _post(service, many, color)
                # each server runs one, and may have the next at hand
                for fake in (one, two):
                    fake.reached("2")
                posted = _post(service, few, MANY)
                assert posted["queue_position"] <= 2
                hold.set()
                url = f"{service.url}/v1/jobs/{posted['id']}"
                ended = few.get(url, params={"wait": 60}, timeout=90).json()
                assert ended["status"] == "succeeded"
                assert few.get(url, timeout=30).json()["server"] in (one.url, two.url)
                left = many.get(f"{service.url}/api/v2/jobs?status=queued", timeout=30).json()
                assert len(left["jobs"]) == 50
                many.delete(f"{service.url}/v1/jobs", params={"which": "all"}, timeout=90)
        finally:
            hold.set()
        orders = [
            [job.graph["1"]["inputs"]["color"] for job in fake.submissions] for fake in (one, two)
        ]
    (mine,) = [order for order in orders if MANY in order]
    # what ran does not count; what was at hand is the one job that came before
    assert mine.index(MANY) <= 2, mine[:5]
