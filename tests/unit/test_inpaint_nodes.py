"""The nodes of inpainting on the engine's host: crop, stitch and the mask by a rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from comfy_nodes.errors import BadInput
from comfy_nodes.ops.pictures import from_bytes, to_bytes
from orchestrator.engine import host

RULE: dict[str, Any] = {
    "colour": "#ffffff",
    "tolerance": 0.1,
    "invert": False,
    "grow": 0,
    "true_pixels": False,
}
CROP: dict[str, Any] = {"width": 64, "height": 64, "context": 1.1, "grow": 0, "feather": 2}


@pytest.fixture(scope="module")
def nodes() -> Any:
    """The classes, by name."""
    host.install()
    from comfy_nodes.inpaint import InpaintCrop, InpaintStitch
    from comfy_nodes.mask import SpriteMask

    return {"crop": InpaintCrop, "stitch": InpaintStitch, "mask": SpriteMask}


@pytest.fixture(scope="module")
def potion(repository: Path) -> np.ndarray:
    return np.asarray(Image.open(repository / "workflows/inputs/spriteworks_potion.png"))


@pytest.fixture(scope="module")
def clear_potion(repository: Path) -> np.ndarray:
    """RGBA, as its file has it."""
    return np.asarray(Image.open(repository / "workflows/inputs/potions/red.png").convert("RGBA"))


def as_loaded(picture: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """The IMAGE and the MASK that Load Image gives; a picture without alpha has 64x64 zeros."""
    image = from_bytes(picture[None, ..., :3])
    if picture.shape[-1] == 3:
        return image, torch.zeros(1, 64, 64)
    return image, 1.0 - from_bytes(picture[None, ..., 3])


def inside(picture: np.ndarray) -> torch.Tensor:
    mask = torch.zeros(1, *picture.shape[:2])
    mask[:, 40:70, 30:66] = 1.0
    return mask


def test_graphs_saved_before_keep_running(nodes: Any, potion: np.ndarray) -> None:
    image, _ = as_loaded(potion)
    cut, mask, way_back = nodes["crop"].execute(image=image, mask=inside(potion), **CROP).result
    assert cut.shape == (1, 64, 64, 3)
    assert mask.shape == (1, 64, 64)
    whole, clear = nodes["stitch"].execute(stitch=way_back, image=cut.flip(1)).result
    assert whole.shape == image.shape
    assert not clear.any()
    result = to_bytes(whole)[0]
    assert not np.array_equal(result, potion)
    colours = {tuple(one) for one in potion.reshape(-1, 3).tolist()}
    assert {tuple(one) for one in result.reshape(-1, 3).tolist()} <= colours


@pytest.mark.parametrize("half", [False, True])
def test_a_transparent_picture_keeps_its_transparency(
    nodes: Any, clear_potion: np.ndarray, half: bool
) -> None:
    image, alpha = as_loaded(clear_potion)
    if half:
        image, alpha = image.half(), alpha.half()
    (mask,) = nodes["mask"].execute(image=image, rule="opaque", alpha=alpha, **RULE).result
    assert np.array_equal(mask[0].numpy() > 0, clear_potion[..., 3] > 0)
    given = {**CROP, "context": 1.0}
    cut, _, way_back = nodes["crop"].execute(image=image, mask=mask, alpha=alpha, **given).result
    # The model sees it before white.
    assert to_bytes(cut)[0, 0, 0].tolist() == [255, 255, 255]
    unchanged, clear = nodes["stitch"].execute(stitch=way_back, image=cut).result
    assert np.array_equal(to_bytes(unchanged)[0], clear_potion)
    assert np.array_equal(clear[0].numpy() > 0, clear_potion[..., 3] == 0)
    changed, _ = (
        nodes["stitch"]
        .execute(stitch=way_back, image=1.0 - cut, keep_outline=False, new_colours=3)
        .result
    )
    result = to_bytes(changed)[0]
    assert not np.array_equal(result, clear_potion)
    assert np.array_equal(
        result[clear_potion[..., 3] == 0], clear_potion[clear_potion[..., 3] == 0]
    )


def test_what_pixel_art_off_gives_is_mixed_as_ever(nodes: Any, potion: np.ndarray) -> None:
    image, alpha = as_loaded(potion)
    cut, _, way_back = (
        nodes["crop"]
        .execute(image=image, mask=inside(potion), pixel_art="off", alpha=alpha, **CROP)
        .result
    )
    whole, _ = (
        nodes["stitch"].execute(stitch=way_back, image=1.0 - cut, match_colours="seam").result
    )
    assert len(np.unique(to_bytes(whole)[0].reshape(-1, 3), axis=0)) > 100


def test_each_picture_of_a_batch_has_a_mask_of_its_own(nodes: Any, potion: np.ndarray) -> None:
    image = from_bytes(np.stack([potion, potion[:, ::-1]]))
    given = {**RULE, "colour": "#ce2636", "tolerance": 0.02, "grow": 1}
    (mask,) = nodes["mask"].execute(image=image, rule="colour", **given).result
    assert mask.shape == (2, 96, 96)
    assert torch.equal(mask[0], mask[1].flip(1))
    (one,) = nodes["mask"].execute(image=image, rule="mask", mask=mask[:1], **RULE).result
    assert torch.equal(one[0], one[1])


def test_mistakes_are_said_in_a_sentence(nodes: Any, potion: np.ndarray) -> None:
    image, _ = as_loaded(potion)
    with pytest.raises(BadInput, match="no colour: write one like #ffffff"):
        nodes["crop"].execute(image=image, mask=inside(potion), background="white", **CROP)
    with pytest.raises(BadInput, match="The alpha has the shape"):
        nodes["crop"].execute(image=image, mask=inside(potion), alpha=torch.ones(1, 9, 9), **CROP)
    with pytest.raises(BadInput, match="The mask has the shape"):
        nodes["mask"].execute(image=image, rule="mask", mask=torch.ones(1, 9, 9), **RULE)
    with pytest.raises(BadInput, match="Nothing in the picture is transparent"):
        nodes["mask"].execute(image=image, rule="transparent", **RULE)
