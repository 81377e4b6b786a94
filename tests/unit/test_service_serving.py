"""The process of `spriteworks serve`: how it ends."""

from __future__ import annotations

import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from orchestrator.testing import FakeServer, Script
from served import served
from service_world import graph


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM that can be caught")
def test_who_waits_is_answered_when_the_service_ends(tmp_path: Path) -> None:
    with FakeServer() as fake, served(tmp_path, ["--server", fake.url]) as service:
        service.wait_until_ready()
        hold = threading.Event()
        fake.script(Script(gates={"2": hold}))
        id = service.call("POST", "/api/v2/jobs", json={"workflow": graph()}).json()["id"]
        told: dict[str, Any] = {}
        reached = threading.Semaphore(0)

        def ask(path: str) -> None:
            with requests.get(service.url + path, stream=True, timeout=30) as answer:
                lines = []
                for line in answer.iter_lines():
                    reached.release()
                    lines.append(line.decode())
                told[path] = (answer.status_code, "\n".join(lines))

        streams = [f"/v1/jobs/{id}/stream", f"/api/v2/jobs/{id}/events"]
        waiting = f"/v1/jobs/{id}?wait=60"
        asking = [threading.Thread(target=ask, args=(path,)) for path in [*streams, waiting]]
        for thread in asking:
            thread.start()
        for _ in streams:
            assert reached.acquire(timeout=30)
        time.sleep(0.5)
        assert service.end(signal.SIGTERM) == 128 + signal.SIGTERM
        for thread in asking:
            thread.join(30)
        # As it is: neither an error nor an end that it did not come to.
        assert {status for status, _ in told.values()} == {200}, told
        assert '"status":"running"' in told[waiting][1]
        for path in streams:
            assert "running" in told[path][1]
            assert "DONE" not in told[path][1]
        assert not [line for line in service.lines if "Traceback" in line or "ERROR" in line]
        hold.set()
