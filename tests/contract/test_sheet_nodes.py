"""Sprite Sheet and Save Sheet on the engine and on real ComfyUI: the same files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orchestrator.client.client import Client
from orchestrator.protocol import FileRef, files_of


@pytest.fixture(params=["engine", pytest.param("comfyui", marks=pytest.mark.comfyui)])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    with Client(request.getfixturevalue(f"{request.param}_url")) as client:
        yield client


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def sprite(shade: int) -> np.ndarray:
    made = np.zeros((24, 20, 4), np.uint8)
    made[4 + shade % 3 : 22, 5:15] = (200, shade, 40, 255)
    return made


def test_two_animations_are_saved_for_three_engines(client: Client, tmp_path: Path) -> None:
    options = {
        "fps": 12.5,
        "direction": "forward",
        "loop": True,
        "columns": 0,
        "padding": 2,
        "extrude": 1,
        "power_of_two": False,
        "max_size": 4096,
    }
    graph: dict[str, Any] = {}
    for shade in (1, 2):
        file = tmp_path / f"sheet {shade}.png"
        Image.fromarray(sprite(shade)).save(file)
        graph[f"load{shade}"] = node("LoadImage", image=client.upload(file).filename)
        before = {"sheet": [f"sheet{shade - 1}", 0]} if shade > 1 else {}
        graph[f"sheet{shade}"] = node(
            "SpriteworksSpriteSheet",
            image=[f"load{shade}", 0],
            mask=[f"load{shade}", 1],
            animation=f"a{shade}",
            **options,
            **before,
        )
    formats = "phaser, godot, aseprite"
    graph["save"] = node(
        "SpriteworksSaveSheet", sheet=["sheet2", 0], filename_prefix="sheets/hero", formats=formats
    )
    accepted = client.submit(graph)
    assert not accepted.problems
    record = client.wait(accepted.prompt_id, timeout=120)
    ((_, page),) = files_of(record.outputs)
    assert page.filename == "hero.png"
    assert page.subfolder.startswith("sheets/hero_")
    pixels = np.asarray(Image.open(io.BytesIO(client.content(page))))
    assert {tuple(colour) for colour in pixels.reshape(-1, 4)} == {
        (0, 0, 0, 0),
        (200, 1, 40, 255),
        (200, 2, 40, 255),
    }
    told = client.content(FileRef(filename="hero.tres", subfolder=page.subfolder)).decode()
    assert '"name": &"a1"' in told
    assert '"name": &"a2"' in told
