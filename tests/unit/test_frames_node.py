"""The node Align Frames on the engine's host."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from comfy_nodes.errors import BadInput
from orchestrator.engine import host
from test_frames_files import Pixels, walker

DEFAULTS: dict[str, list[Any]] = {
    "pivot": ["ground"],
    "keep_height": [False],
    "one_scale": [False],
    "margin": [0],
    "width": [0],
    "height": [0],
}


@pytest.fixture(scope="module")
def node() -> Any:
    host.install()
    from comfy_nodes.frames import AlignFrames

    return AlignFrames


def batch(*pictures: Pixels) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures).astype(np.float32) / 255)


def whole(image: torch.Tensor, mask: torch.Tensor) -> Pixels:
    """uint8 [B, H, W, 4] of what the node gives."""
    made = torch.cat([image, 1 - mask[..., None]], dim=-1) * 255
    return np.asarray(made.round().to(torch.uint8).numpy())


def aligned(node: Any, *images: torch.Tensor, **given: Any) -> Any:
    return node.execute(image=list(images), **{**DEFAULTS, **given}).result


def test_a_batch_of_frames_stands_still(node: Any) -> None:
    image, mask, x, y, report = aligned(node, batch(walker(), walker(5, 3), walker(2, 1, arm=12)))

    made = whole(image, mask)
    assert made.shape == (3, 20, 20, 4)
    assert np.array_equal(made[0], made[1])
    assert (x, y) == (4, 20)
    told = json.loads(report)
    assert told["canvas"] == [20, 20]
    assert [one["moved"] for one in told["frames"]] == [[-2, -1], [3, 2], [0, 0]]


def test_the_mask_is_the_alpha(node: Any) -> None:
    given = batch(walker(), walker(5, 3))
    plain = torch.where(given[..., 3:] > 0, given[..., :3], torch.tensor(1.0))

    with_alpha = aligned(node, given)
    with_mask = aligned(node, plain, mask=[1 - given[..., 3]])

    assert torch.equal(with_alpha[0], with_mask[0])
    assert torch.equal(with_alpha[1], with_mask[1])


def test_single_pictures_are_one_animation_and_batches_are_several(node: Any) -> None:
    singles = aligned(node, batch(walker()), batch(walker(4, size=60)), batch(walker(arm=15)))
    assert json.loads(singles[4])["frames"][1]["moved"] == [4, 0]

    several = aligned(node, batch(walker(), walker(3)), batch(walker(9), walker(9)))
    told = json.loads(several[4])["frames"]
    assert [one["moved"] for one in told] == [[-1, 0], [2, 0], [0, 0], [0, 0]]
    made = whole(several[0], several[1])
    assert all(np.array_equal(made[0], one) for one in made)


def test_the_canvas_and_what_it_needs(node: Any) -> None:
    image, _, x, y, _ = aligned(node, batch(walker()), width=[32], height=[24], margin=[1])
    assert image.shape == (1, 24, 32, 3)
    assert (x, y) == (16, 23)
    with pytest.raises(BadInput, match="or neither"):
        aligned(node, batch(walker()), width=[32])
    with pytest.raises(BadInput, match="too small"):
        aligned(node, batch(walker()), width=[4], height=[4])


def test_clients_are_told_that_frames_belong_together(node: Any) -> None:
    info = node.GET_NODE_INFO_V1()
    assert "per_picture" not in info["input"]["required"]["image"][1]
    assert info["is_input_list"] is True
    assert info["output"] == ["IMAGE", "MASK", "INT", "INT", "STRING"]
    assert info["output_is_list"] == [False] * 5
