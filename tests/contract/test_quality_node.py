"""The node Quality on the engine and on real ComfyUI: it gives pictures on, or ends the run."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from orchestrator.client.client import Client
from orchestrator.errors import NodeFailed
from orchestrator.protocol import files_of


@pytest.fixture(params=["engine", pytest.param("comfyui", marks=pytest.mark.comfyui)])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    with Client(request.getfixturevalue(f"{request.param}_url")) as client:
        yield client


def sprite(*, speck: bool) -> NDArray[np.uint8]:
    """A red box with a dark outline on nothing, 24x24."""
    made = np.zeros((24, 24, 4), np.uint8)
    made[2:22, 2:22] = (30, 10, 20, 255)
    made[3:21, 3:21] = (200, 40, 40, 255)
    if speck:
        made[1, 12] = (190, 190, 200, 255)
    return made


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def made(client: Client, folder: Path, *, speck: bool, stop: bool) -> NDArray[np.uint8]:
    file = folder / f"quality {speck}.png"
    Image.fromarray(sprite(speck=speck)).save(file)
    graph = {
        "load": node("LoadImage", image=client.upload(file).filename),
        "quality": node("SpriteworksQuality", image=["load", 0], mask=["load", 1], stop=stop),
        "save": node(
            "SpriteworksSaveSprite",
            image=["quality", 0],
            mask=["load", 1],
            filename_prefix=f"quality {speck} {stop}",
        ),
    }
    accepted = client.submit(graph)
    assert not accepted.problems
    record = client.wait(accepted.prompt_id, timeout=120)
    ((_, saved),) = files_of(record.outputs)
    return np.asarray(Image.open(io.BytesIO(client.content(saved))))


@pytest.mark.parametrize(("speck", "stop"), [(False, True), (False, False), (True, False)])
def test_pictures_are_given_on_as_they_are(
    client: Client, tmp_path: Path, speck: bool, stop: bool
) -> None:
    assert np.array_equal(made(client, tmp_path, speck=speck, stop=stop), sprite(speck=speck))


def test_a_fault_ends_the_run_where_that_is_wanted(client: Client, tmp_path: Path) -> None:
    with pytest.raises(NodeFailed, match="orphans is 1"):
        made(client, tmp_path, speck=True, stop=True)


def test_what_it_gives_is_known_to_clients(client: Client) -> None:
    info = client.object_info()["SpriteworksQuality"]
    assert info["output"] == ["IMAGE", "STRING", "BOOLEAN"]
    assert info["output_is_list"] == [False, True, True]
    assert info["input"]["required"]["image"][1]["per_picture"] is True
