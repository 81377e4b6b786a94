"""A batch on real ComfyUI and on the engine, with the model that comes with Spriteworks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from orchestrator.batch import production as batch
from orchestrator.batch.execution.judging import read_picture
from orchestrator.batch.logic.gates import pixels_sha256
from orchestrator.client.client import Client
from orchestrator.local.serving import Choice
from orchestrator.workflow.conversion import canvas_to_graph

MANIFEST = """
name: potions
workflow: {workflow}
defaults: {{steps: 2}}
items:
  - id: potion
    prompt: "a {{colour}} potion"
    vars: {{colour: [red, blue]}}
    seeds: {{base: 100, count: 2}}
    gates: {{opaque: {{min: 0.001}}, duplicate: }}
"""


class Silent:
    def happened(self, kind: str, **details: Any) -> None:
        """Take note of nothing."""


def run(folder: Path, url: str, workflow: str = "sprite") -> Path:
    folder.mkdir()
    manifest, out = folder / "potions.yaml", folder / "out"
    manifest.write_text(MANIFEST.format(workflow=workflow), encoding="utf-8")
    request = batch.BatchRequest(manifest=manifest, out=out, choice=Choice(urls=(url,)))
    assert batch.run(request, Silent()).is_complete
    names = {f"potion-{colour}-{seed}.png" for colour in ("red", "blue") for seed in (100, 101)}
    assert {path.name for path in out.glob("*.png")} == names
    return out


@pytest.mark.comfyui
def test_comfyui_makes_each_picture_once_with_its_canvas_in_it(
    tmp_path: Path, comfyui_url: str
) -> None:
    out = run(tmp_path / "one", comfyui_url)
    status = batch.status(out)
    assert (status["done"], status["total"], status["failures"]) == (4, 4, [])
    timings = status["timings"]["servers"][comfyui_url]
    assert (timings["pictures"], timings["attempts"]) == (4, 4)
    assert {"queued", "run", "transfer", "store"} <= set(timings["spans"])
    assert "KSampler" in timings["nodes"]

    # Each picture opens on the canvas with its own prompt and seed.
    with Client(comfyui_url) as client:
        info = client.catalogue()
    for path in out.glob("*.png"):
        with Image.open(path) as image:
            texts = dict(image.text)  # type: ignore[attr-defined]
        graph = json.loads(texts["prompt"])
        shown = canvas_to_graph(json.loads(texts["workflow"]), info)
        # The canvas also says what the graph leaves to its default.
        for key, node in graph.items():
            known = shown.pop(key)["inputs"]
            assert {name: known[name] for name in node["inputs"]} == node["inputs"]
        assert not shown
        _, colour, seed = path.stem.split("-")
        inputs = [node["inputs"] for node in graph.values()]
        assert int(seed) in [one.get("seed") for one in inputs]
        assert any(f"a {colour} potion" in str(one.get("text")) for one in inputs)

    # Another folder, the same server: its cache answers, and pictures are the same.
    again = run(tmp_path / "two", comfyui_url)
    for path in out.glob("*.png"):
        assert _pixels(again / path.name) == _pixels(path)


def test_the_engine_makes_each_picture_once_with_its_canvas_in_it(
    tmp_path: Path, engine_url: str
) -> None:
    out = run(tmp_path / "one", engine_url)
    for path in out.glob("*.png"):
        with Image.open(path) as image:
            texts = dict(image.text)  # type: ignore[attr-defined]
        assert json.loads(texts["workflow"])["nodes"]


def _pixels(path: Path) -> str:
    return pixels_sha256(read_picture(path))
