"""The node Cutout on the engine's host."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from comfy_nodes.errors import BadInput
from comfy_nodes.ops.cutout import CutoutOptions, Outline, cut_out
from orchestrator.engine import host

SAVED: dict[str, Any] = {"tolerance": 0.15, "smallest_hole": 0.01}
INK, RED = (20, 10, 30), (200, 30, 30)


@pytest.fixture(scope="module")
def cutout() -> Any:
    host.install()
    from comfy_nodes.cutout import Cutout

    return Cutout


def block(size: int = 32) -> np.ndarray:
    """A red block on nearly white, with an outline and a mixed pixel beside it."""
    picture = np.full((size, size, 3), 254, dtype=np.uint8)
    picture[::2, ::3] = 255
    quarter = size // 4
    picture[quarter:-quarter, quarter:-quarter] = INK
    picture[quarter + 1 : -quarter - 1, quarter + 1 : -quarter - 1] = RED
    picture[size // 2, quarter - 1] = (190, 187, 193)
    return picture


def batch(*pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures).astype(np.float32) / 255)


def bytes_of(image: torch.Tensor) -> np.ndarray:
    return (image * 255).round().to(torch.uint8).numpy()


@pytest.mark.parametrize("size", [32, 256])
def test_a_graph_saved_before_runs_as_it_is(cutout: Any, size: int) -> None:
    given = batch(block(size), np.flipud(block(size)).copy())
    image, mask = cutout.execute(image=given, **SAVED).result
    assert tuple(image.shape) == (2, size, size, 3)
    assert tuple(mask.shape) == (2, size, size)
    assert mask.dtype == image.dtype == torch.float32
    expected = cut_out(block(size), CutoutOptions(**SAVED))[..., 3] > 0
    assert expected.sum() == (size // 2) ** 2
    assert np.array_equal(mask[0].numpy() == 0, expected)
    assert np.array_equal(mask[1].numpy() == 0, np.flipud(expected))
    assert set(np.unique(mask.numpy())) == {0, 1}
    assert np.array_equal(bytes_of(image)[0], block(size))


def test_the_choices_reach_the_pixels(cutout: Any) -> None:
    given = batch(block())
    image, mask = cutout.execute(
        image=given, **SAVED, outline="outside", outline_colour="#0000ff"
    ).result
    options = CutoutOptions(**SAVED, outline=Outline.OUTSIDE, outline_colour=(0, 0, 255))
    sprite = cut_out(block(), options)
    there = sprite[..., 3] > 0
    assert np.array_equal(mask[0].numpy() == 0, there)
    assert np.array_equal(bytes_of(image)[0][there], sprite[there][:, :3])
    assert np.array_equal(bytes_of(image)[0][~there], block()[~there])
    soft = cutout.execute(image=given, **SAVED, soft_edges=True).result[1]
    assert 0.5 < float(soft[0, 16, 7]) < 0.9


def test_what_is_cut_out_already_comes_back(cutout: Any) -> None:
    image, mask = cutout.execute(image=batch(block()), **SAVED).result
    again, same = cutout.execute(image=image, mask=mask, **SAVED).result
    assert torch.equal(again, image)
    assert torch.equal(same, mask)
    joined = torch.cat([image, 1 - mask[..., None]], dim=-1)
    again, same = cutout.execute(image=joined, **SAVED).result
    assert torch.equal(again, image)
    assert torch.equal(same, mask)


def test_what_cannot_be_is_a_sentence(cutout: Any) -> None:
    with pytest.raises(BadInput, match="no hex colour"):
        cutout.execute(image=batch(block()), **SAVED, outline_colour="blue")
    with pytest.raises(BadInput, match="Nothing would be left"):
        cutout.execute(image=torch.ones(1, 8, 8, 3), **SAVED)
    with pytest.raises(BadInput, match="mask has the shape"):
        cutout.execute(image=batch(block()), mask=torch.zeros(1, 8, 8), **SAVED)


def test_old_inputs_come_first_and_new_ones_are_optional(cutout: Any) -> None:
    info = cutout.GET_NODE_INFO_V1()
    assert list(info["input"]["required"]) == ["image", "tolerance", "smallest_hole"]
    assert list(info["input"]["optional"]) == [
        "keep_light",
        "despill",
        "smallest_part",
        "soft_edges",
        "outline",
        "outline_colour",
        "mask",
    ]
    assert info["output"] == ["IMAGE", "MASK"]
