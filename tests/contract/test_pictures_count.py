"""Pictures of honest servers count, whatever their cache answers: real ComfyUI and the engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.batch import production as batch
from orchestrator.batch.execution.fleet import Choice
from orchestrator.batch.execution.store.store import Store
from orchestrator.client.client import Client
from orchestrator.protocol import Graph, files_of
from orchestrator.runs.looking import Look, look
from orchestrator.workflow.signatures import Signatures

SERVERS = ["engine_url", pytest.param("comfyui_url", marks=pytest.mark.comfyui)]


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


class Silent:
    def happened(self, kind: str, **details: Any) -> None:
        """Take note of nothing."""


@pytest.mark.parametrize("workflow", ["sprite", "batch", "pixel_art", "inpaint", "icons"])
@pytest.mark.parametrize("url", SERVERS, indirect=True)
def test_a_batch_of_each_shipped_workflow_counts(tmp_path: Path, url: str, workflow: str) -> None:
    text = {
        "name": "potions",
        "workflow": workflow,
        "defaults": {"steps": 1},
        "seeds": {"base": 5, "count": 2},
        "batch_size": 2,
        "gates": ["graph"],
        "items": [{"id": "potion", "prompt": "a potion"}],
    }
    manifest, out = tmp_path / "potions.yaml", tmp_path / "out"
    manifest.write_text(json.dumps(text), encoding="utf-8")
    request = batch.BatchRequest(manifest=manifest, out=out, choice=Choice(urls=(url,)))
    assert batch.run(request, Silent()).is_complete
    with Store.open(out) as store:
        tries = [one for entry in store.entries() for one in store.attempts_of(entry.job.key)]
        assert [one.failure for one in tries if one.failure] == []
        assert all(artifact.measured["graph"] == 1 for artifact in store.artifacts())


def saved_by(client: Client, graph: Graph) -> list[tuple[str, Look]]:
    """(node, picture) of all that a graph saves."""
    record = client.wait(client.submit(graph).prompt_id)
    files = [one for one in files_of(record.outputs) if one[1].type == "output"]
    return [(node, look(client.content(file))) for node, file in files]


def empty_image(color: int) -> dict[str, Any]:
    size = {"width": 16, "height": 8, "batch_size": 1}
    return {"class_type": "EmptyImage", "inputs": {**size, "color": color}}


def saving(class_type: str, source: str, **more: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": {"images": [source, 0], **more}}


@pytest.mark.comfyui
def test_what_the_cache_answers_with_counts(comfyui_url: str) -> None:
    """The file is that of the first job, and carries its graph: other ids and another branch."""
    prefix = {"filename_prefix": "counted"}
    first = {"1": empty_image(1), "2": saving("SaveImage", "1", **prefix), "3": empty_image(2)}
    first |= {"4": saving("PreviewImage", "3")}
    second = {"7": empty_image(1), "9": saving("SaveImage", "7", **prefix), "8": empty_image(3)}
    second |= {"5": saving("PreviewImage", "8")}
    third = {**second, "7": empty_image(4)}
    with Client(comfyui_url) as client:
        ((_, earlier),) = saved_by(client, first)
        ((node, cached),) = saved_by(client, second)
        ((_, other),) = saved_by(client, third)
    assert earlier.graph is not None
    assert earlier.graph == cached.graph
    assert earlier.graph.keys() == first.keys()
    assert Signatures(second).makes(node, cached.graph)
    assert other.graph is not None
    assert not Signatures(second).makes(node, other.graph)


@pytest.mark.comfyui
@pytest.mark.parametrize(
    ("kind", "more", "suffix"),
    [
        ("SaveAnimatedPNG", {"fps": 6.0, "compress_level": 4}, ".png"),
        (
            "SaveAnimatedWEBP",
            {"fps": 6.0, "lossless": True, "quality": 80, "method": "default"},
            ".webp",
        ),
    ],
)
def test_moving_pictures_carry_their_graph(
    comfyui_url: str, kind: str, more: dict[str, Any], suffix: str
) -> None:
    graph: Graph = {"1": empty_image(5), "2": saving(kind, "1", filename_prefix="moving", **more)}
    graph["1"]["inputs"]["batch_size"] = 3
    with Client(comfyui_url) as client:
        ((node, found),) = saved_by(client, graph)
    assert found.graph is not None
    assert Signatures(graph).makes(node, found.graph)
    assert (found.suffix, found.behind) == (suffix, 0)
