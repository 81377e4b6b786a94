"""The memory report node on the engine and on real ComfyUI, and memory in a run's record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.library import connect

GRAPH: dict[str, Any] = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 7},
    },
    "2": {
        "class_type": "SpriteworksMemoryReport",
        "inputs": {"value": ["1", 0], "label": "after the picture"},
    },
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "memory"}},
}


@pytest.mark.parametrize(
    "server", ["engine_url", pytest.param("comfyui_url", marks=pytest.mark.comfyui)]
)
def test_a_report_on_a_link_comes_with_the_run(
    server: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    workflow = tmp_path / "graph.json"
    workflow.write_text(json.dumps(GRAPH), encoding="utf-8")
    with connect(request.getfixturevalue(server)) as chosen:
        record = chosen.run(workflow).to_json()
    assert len(record["artifacts"]) == 1
    (report,) = record["memory"]["reports"]
    assert (report["node"], report["label"]) == ("2", "after the picture")
    # A server with torch in it, seen from inside and from outside.
    assert report["process_peak"] >= report["process"] > 100 << 20
    seen = record["memory"]["peak"]["process"]
    assert seen is None or 0.5 < seen / report["process"] < 2
    assert record["memory"]["looks"] > 0
