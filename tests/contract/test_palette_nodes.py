"""Palette and Swap Ramp behind Snap, on the engine and on real ComfyUI: lists of pictures."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fake_grids
from comfy_nodes.formats.well_known import by_name
from comfy_nodes.ops.color import pack
from comfy_nodes.ops.palette import paint, shared_palette
from orchestrator.client.client import Client
from orchestrator.protocol import Graph, files_of

Pixels = fake_grids.Pixels
# cells and px of a fake pixel; both pictures are 120 px wide and high
SIZES = ((20, 6), (30, 4))


@pytest.fixture(params=["engine", pytest.param("comfyui", marks=pytest.mark.comfyui)])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    with Client(request.getfixturevalue(f"{request.param}_url")) as client:
        yield client


@pytest.fixture(scope="module")
def sprites() -> list[Pixels]:
    """Two sprites of different sizes: a red and a blue one, on white."""
    made = []
    for index, (cells, _) in enumerate(SIZES):
        random = np.random.default_rng(index)
        picture = np.full((cells, cells, 3), 255, dtype=np.uint8)
        shades = random.integers(60, 250, (cells - 8, cells - 8))
        picture[4:-4, 4:-4] = 20
        picture[4:-4, 4:-4, 2 * index] = shades
        made.append(picture)
    return made


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def snapped(client: Client, sprites: list[Pixels], folder: Path) -> Graph:
    """A graph in which `snap` gives a list of two pictures of different sizes."""
    frames = [
        Image.fromarray(sprite.repeat(pitch, axis=0).repeat(pitch, axis=1))
        for sprite, (_, pitch) in zip(sprites, SIZES, strict=True)
    ]
    file = folder / "palette nodes.png"
    frames[0].save(file, save_all=True, append_images=frames[1:])
    return {
        "both": node("LoadImage", image=client.upload(file).filename),
        "snap": node(
            "SpriteworksSnap",
            image=["both", 0],
            width=0,
            height=0,
            pitch=0.0,
            colour="median",
            scale=1,
            sequence=False,
        ),
    }


def saved(client: Client, graph: Graph, link: list[Any]) -> list[Pixels]:
    graph = {**graph, "save": node("SaveImage", images=link, filename_prefix="palette nodes")}
    accepted = client.submit(graph)
    assert not accepted.problems
    record = client.wait(accepted.prompt_id, timeout=120)
    files = [file for _, file in files_of(record.outputs)]
    return [np.asarray(Image.open(io.BytesIO(client.content(file)))) for file in files]


def test_one_palette_serves_all_that_snap_gives(
    client: Client, sprites: list[Pixels], tmp_path: Path
) -> None:
    graph = snapped(client, sprites, tmp_path)
    graph["palette"] = node(
        "SpriteworksPalette",
        image=["snap", 0],
        mask=["snap", 1],
        colors=5,
        palette="",
        dither=True,
        pattern="floyd-steinberg",
        shared=True,
    )
    expected = shared_palette(sprites, 5)
    made = saved(client, graph, ["palette", 0])
    assert [one.shape for one in made] == [one.shape for one in sprites]
    for one, sprite in zip(made, sprites, strict=True):
        assert np.array_equal(one, paint(sprite, expected, dither="floyd-steinberg"))


def test_a_graph_from_before_still_gives_each_picture_its_own(
    client: Client, sprites: list[Pixels], tmp_path: Path
) -> None:
    graph = snapped(client, sprites, tmp_path)
    graph["palette"] = node(
        "SpriteworksPalette", image=["both", 0], colors=3, palette="", dither=False
    )
    made = saved(client, graph, ["palette", 0])
    assert [one.shape for one in made] == [(120, 120, 3)] * 2
    for one, sprite, (_, pitch) in zip(made, sprites, SIZES, strict=True):
        expected = paint(sprite, shared_palette([sprite], 3))
        assert np.array_equal(one[::pitch, ::pitch], expected)


def test_ramps_are_swapped_in_each_picture_of_a_list(
    client: Client, sprites: list[Pixels], tmp_path: Path
) -> None:
    graph = snapped(client, sprites, tmp_path)
    graph["palette"] = node(
        "SpriteworksPalette", image=["snap", 0], colors=16, palette="sweetie-16", dither=False
    )
    graph["swap"] = node(
        "SpriteworksSwapRamp",
        image=["palette", 0],
        old="red",
        new="green",
        both_ways=False,
        palette="Sweetie 16",
    )
    made = saved(client, graph, ["swap", 0])
    greens = {0x38B764, 0xA7F070}
    red, blue = (set(np.unique(pack(one)).tolist()) for one in made)
    assert red & greens
    known = set(pack(by_name("sweetie-16").array()).tolist())
    assert (red | blue) <= known - {0xB13E53, 0xEF7D57}
    assert not blue & greens
