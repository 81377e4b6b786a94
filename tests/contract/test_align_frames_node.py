"""The node Align Frames on the engine and on real ComfyUI: a list of pictures becomes one batch."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from comfy_nodes.formats import apng
from comfy_nodes.ops.frames import Frame
from orchestrator.client.client import Client
from orchestrator.protocol import files_of


@pytest.fixture(params=["engine", pytest.param("comfyui", marks=pytest.mark.comfyui)])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    with Client(request.getfixturevalue(f"{request.param}_url")) as client:
        yield client


def sprite(x: int = 0, y: int = 0, arm: int = 2) -> NDArray[np.uint8]:
    """A box of 8x20 px with an arm to the right, 48x48."""
    made = np.zeros((48, 48, 4), np.uint8)
    made[10 + y : 30 + y, 10 + x : 18 + x] = (60, 70, 160, 255)
    made[14 + y : 16 + y, 18 + x : 18 + x + arm] = (200, 40, 40, 255)
    return made


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def test_two_frames_stand_still(client: Client, tmp_path: Path) -> None:
    """Each frame is snapped by itself, which gives a list of single pictures."""
    both = tmp_path / "two frames.png"
    frames = [sprite(), sprite(6, 4, arm=9)]
    both.write_bytes(apng.write([Frame.whole(str(one.sum()), one) for one in frames]))
    graph = {
        "load": node("LoadImage", image=client.upload(both).filename),
        "snap": node(
            "SpriteworksSnap",
            image=["load", 0],
            mask=["load", 1],
            width=48,
            height=48,
            pitch=0.0,
            colour="median",
            scale=1,
            sequence=False,
        ),
        "align": node(
            "SpriteworksAlignFrames",
            image=["snap", 0],
            mask=["snap", 1],
            pivot="ground",
            keep_height=False,
            one_scale=False,
            margin=1,
            width=0,
            height=0,
        ),
        "save": node(
            "SpriteworksSaveSprite",
            image=["align", 0],
            mask=["align", 1],
            filename_prefix="aligned",
        ),
    }

    accepted = client.submit(graph)
    assert not accepted.problems
    record = client.wait(accepted.prompt_id, timeout=120)

    saved = [
        np.asarray(Image.open(io.BytesIO(client.content(file))))
        for _, file in files_of(record.outputs)
    ]
    assert [one.shape for one in saved] == [(22, 19, 4)] * 2
    for one, arm in zip(saved, (2, 9), strict=True):
        expected = np.zeros((22, 19, 4), np.uint8)
        expected[1:21, 1 : 9 + arm] = sprite(arm=arm)[10:30, 10 : 18 + arm]
        assert one.tolist() == expected.tolist()
