"""docs/API.md is what the service's OpenAPI says."""

from __future__ import annotations

import runpy
from pathlib import Path

from orchestrator.service.app import description


def test_the_page_is_made_from_the_openapi(repository: Path) -> None:
    made = runpy.run_path(str(repository / "scripts" / "build_api_docs.py"))["page"]()
    page = (repository / "docs" / "API.md").read_text(encoding="utf-8")
    assert page == made, "run: python scripts/build_api_docs.py"


def test_every_route_is_described() -> None:
    told = description()
    for path, methods in told["paths"].items():
        for method, route in methods.items():
            assert route.get("description"), (method, path)
    assert "/api/v2/jobs/{job_id}/events" in told["paths"]
    assert "/v1/jobs" in told["paths"]
