"""The node Snap on the engine's host: lists of true pixels, or one batch for a sequence."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

import fake_grids
from comfy_nodes.errors import BadInput
from orchestrator.engine import host

GIVEN: dict[str, Any] = {
    "width": 0,
    "height": 0,
    "pitch": 0.0,
    "colour": "median",
    "scale": 1,
    "sequence": False,
}


@pytest.fixture(scope="module")
def nodes() -> Any:
    """The module of the pack, on the engine's host."""
    host.install()
    from comfy_nodes import snap

    return snap


@pytest.fixture(scope="module")
def snap(nodes: Any) -> Any:
    return nodes.Snap


def batch(*pictures: fake_grids.Pixels) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures).astype(np.float32) / 255)


def bytes_of(image: torch.Tensor) -> fake_grids.Pixels:
    return (image * 255).round().to(torch.uint8).numpy()


def enlarged(picture: fake_grids.Pixels, pitch: int) -> fake_grids.Pixels:
    return picture.repeat(pitch, axis=0).repeat(pitch, axis=1)


def test_each_picture_comes_in_its_own_size(snap: Any) -> None:
    one = fake_grids.figure(np.random.default_rng(1))[:20, :20]
    other = fake_grids.blob(np.random.default_rng(3))[:30, :30]
    given = batch(enlarged(one, 9), enlarged(other, 6))
    images, masks, reports = snap.execute(image=given, **GIVEN).result
    assert [tuple(image.shape) for image in images] == [(1, 20, 20, 3), (1, 30, 30, 3)]
    assert np.array_equal(bytes_of(images[0])[0], one)
    assert np.array_equal(bytes_of(images[1])[0], other)
    assert [float(mask.max()) for mask in masks] == [0, 0]
    assert [json.loads(report)[0]["width"] for report in reports] == [20, 30]


def test_a_sequence_is_one_batch(snap: Any) -> None:
    small = fake_grids.figure(np.random.default_rng(1))
    given = batch(*(enlarged(np.roll(small, step, axis=1), 5) for step in range(3)))
    images, _, reports = snap.execute(image=given, **{**GIVEN, "sequence": True}).result
    assert [tuple(image.shape) for image in images] == [(3, *small.shape)]
    assert len(json.loads(reports[0])) == 3


def test_a_mask_is_snapped_with_its_picture(snap: Any) -> None:
    small = fake_grids.figure(np.random.default_rng(1), alpha=True)
    big = enlarged(small, 7)
    mask = 1 - torch.from_numpy(big[None, ..., 3].astype(np.float32) / 255)
    images, masks, _ = snap.execute(image=batch(big[..., :3]), mask=mask, **GIVEN).result
    assert images[0].shape[-1] == 3
    assert np.array_equal(masks[0][0].numpy() == 0, small[..., 3] == 255)


def test_what_is_known_is_taken(snap: Any) -> None:
    big = batch(enlarged(fake_grids.figure(np.random.default_rng(1)), 5))
    images = snap.execute(image=big, **{**GIVEN, "width": 16, "height": 12, "scale": 2}).result[0]
    assert tuple(images[0].shape) == (1, 24, 32, 3)
    with pytest.raises(BadInput, match="width, too"):
        snap.execute(image=big, **{**GIVEN, "height": 12})
    with pytest.raises(BadInput, match="Give the size or the pitch"):
        snap.execute(image=big, **{**GIVEN, "width": 12, "pitch": 5.0})


def test_clients_are_told_when_a_batch_is_one_set_and_that_pixelize_is_old(
    snap: Any, nodes: Any
) -> None:
    info = snap.GET_NODE_INFO_V1()
    required = info["input"]["required"]
    assert required["image"][1]["per_picture"] is True
    assert required["sequence"][1]["whole_set"] == [True]
    assert info["output_is_list"] == [True, True, True]
    assert not info["deprecated"]
    assert nodes.Pixelize.GET_NODE_INFO_V1()["deprecated"]
