"""The process of `spriteworks serve`: how it ends."""

from __future__ import annotations

import http.client
import json
import signal
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from orchestrator.testing import FakeServer, Script
from served import served
from service_world import LONG, graph, until


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM that can be caught")
def test_who_waits_is_answered_when_the_service_ends(tmp_path: Path) -> None:
    with FakeServer() as fake, served(tmp_path, ["--server", fake.url]) as service:
        service.wait_until_ready()
        hold = threading.Event()
        fake.script(Script(gates={"2": hold}))
        id = service.call("POST", "/api/v2/jobs", json={"workflow": graph()}).json()["id"]
        job = f"/v1/jobs/{id}"
        until(lambda: service.call("GET", job).json()["status"], lambda now: now == "running")
        told: dict[str, Any] = {}
        streams = {
            f"{job}/stream": threading.Event(),
            f"/api/v2/jobs/{id}/events": threading.Event(),
        }

        def ask(path: str) -> None:
            with requests.get(service.url + path, stream=True, timeout=LONG) as answer:
                lines = []
                for line in answer.iter_lines():
                    streams[path].set()
                    lines.append(line.decode())
                told[path] = (answer.status_code, "\n".join(lines))

        asking = [threading.Thread(target=ask, args=(path,)) for path in streams]
        for thread in asking:
            thread.start()
        for reached in streams.values():
            assert reached.wait(LONG)
        line = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=LONG)
        line.request("GET", f"{job}?wait=60")
        # What is asked later has been answered, so the service has heard this, too.
        for _ in range(3):
            assert service.call("GET", "/health").ok
        assert service.end(signal.SIGTERM) == 128 + signal.SIGTERM
        with closing(line), line.getresponse() as answer:
            assert answer.status == 200
            assert json.load(answer)["status"] == "running"
        for thread in asking:
            thread.join(LONG)
        # As it is: neither an error nor an end that it did not come to.
        assert {status for status, _ in told.values()} == {200}, told
        for path in streams:
            assert "running" in told[path][1]
            assert "DONE" not in told[path][1]
        assert not [line for line in service.lines if "Traceback" in line or "ERROR" in line]
        hold.set()
