"""schemathesis on our OpenAPI: whatever is sent, no answer is a 5xx, and each is as described."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.testing import FakeServer
from service_world import graph, serving

pytest.importorskip("schemathesis", reason="needs pip install schemathesis")

# What it may find: answers of 500 and more, bodies and headers that are not as described.
CHECKS = "not_a_server_error,content_type_conformance,response_schema_conformance"


@pytest.mark.slow
def test_no_request_breaks_it(tmp_path: Path) -> None:
    with FakeServer() as fake, serving(tmp_path / "data", [fake.url]) as world:
        world.ended(world.post(graph()).json()["id"])
        world.call("POST", "/api/v2/assets", files={"file": ("x.txt", b"x")})
        told = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", f"{world.url}/openapi.json"),
                *("--checks", CHECKS, "--max-examples", "40", "--seed", "13"),
                *("--request-timeout", "20", "--no-color", "--generation-database", "none"),
                # streams of jobs that wait would go on for as long as they wait
                *("--exclude-path-regex", "/(stream|events)$"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert told.returncode == 0, told.stdout[-8000:] + told.stderr[-2000:]
        # and it still makes pictures
        assert world.ended(world.post(graph(color=9)).json()["id"])["status"] == "succeeded"
