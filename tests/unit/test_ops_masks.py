from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_nodes.errors import BadInput
from comfy_nodes.ops.masks import Rule, commonest, grown, sprite_mask


def picture() -> np.ndarray:
    """Red 8x8 in the middle of 16x16 grey, whose first two columns are transparent."""
    made = np.full((16, 16, 4), (128, 128, 128, 255), np.uint8)
    made[4:12, 4:12, :3] = (200, 30, 40)
    made[:, :2] = (200, 30, 40, 0)
    return made


def test_rules() -> None:
    there = np.ones((16, 16), bool)
    there[:, :2] = False
    red = np.zeros((16, 16), bool)
    red[4:12, 4:12] = True
    assert np.array_equal(sprite_mask(picture(), Rule.OPAQUE), there)
    assert np.array_equal(sprite_mask(picture(), Rule.TRANSPARENT), ~there)
    # What is transparent has no colour, and near is not far.
    assert np.array_equal(sprite_mask(picture(), Rule.COLOUR, colour="#c81e28", tolerance=0), red)
    assert np.array_equal(sprite_mask(picture(), Rule.COLOUR, colour="c32030"), red)
    assert commonest(picture()).tolist() == [128, 128, 128]
    assert np.array_equal(sprite_mask(picture(), Rule.COMMONEST), there & ~red)
    assert np.array_equal(sprite_mask(picture(), Rule.MASK, given=red), red)
    assert np.array_equal(sprite_mask(picture(), Rule.MASK, given=red, invert=True), ~red)


def test_the_tolerance_is_a_distance_in_oklab() -> None:
    # Black and white are 1 apart.
    white = np.full((4, 4, 3), 255, np.uint8)
    assert sprite_mask(white, Rule.COLOUR, colour="#000000", tolerance=1.0).all()
    with pytest.raises(BadInput, match="within the tolerance of that colour"):
        sprite_mask(white, Rule.COLOUR, colour="#000000", tolerance=0.99)


@given(seed=st.integers(0, 2**32 - 1), pixels=st.integers(0, 4))
def test_growing_and_shrinking(seed: int, pixels: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((20, 23)) < 0.1
    mask[3, 4] = True
    wide = grown(mask, pixels)
    for y, x in np.argwhere(mask):
        assert wide[max(y - pixels, 0) : y + pixels + 1, max(x - pixels, 0) : x + pixels + 1].all()
    assert wide.sum() <= mask.sum() * (2 * pixels + 1) ** 2
    # To shrink is to grow what is not masked.
    assert np.array_equal(grown(mask, -pixels), ~grown(~mask, pixels))


def test_the_pictures_edge_is_no_edge_of_the_mask() -> None:
    mask = np.ones((8, 8), bool)
    assert grown(mask, -3).all()


def test_whole_true_pixels_and_growth_by_them() -> None:
    small = np.full((12, 12, 3), 255, np.uint8)
    small[3:9, 3:9] = np.random.default_rng(0).integers(0, 255, (6, 6, 3))
    enlarged = small.repeat(4, axis=0).repeat(4, axis=1)
    hand = np.zeros((48, 48), bool)
    hand[17:28, 16:31] = True  # less than half of a cell is left out, or added
    mask = sprite_mask(enlarged, Rule.MASK, given=hand, true_pixels=True)
    expected = np.zeros((48, 48), bool)
    expected[16:28, 16:32] = True
    assert np.array_equal(mask, expected)
    wider = sprite_mask(enlarged, Rule.MASK, given=hand, true_pixels=True, grow=1)
    expected[12:32, 12:36] = True
    assert np.array_equal(wider, expected)


def test_an_empty_mask_is_said_in_a_sentence() -> None:
    solid = np.full((6, 6, 3), 9, np.uint8)
    with pytest.raises(BadInput, match="Nothing in the picture is transparent, so the mask"):
        sprite_mask(solid, Rule.TRANSPARENT)
    with pytest.raises(BadInput, match="marks the whole picture, and is inverted"):
        sprite_mask(solid, Rule.OPAQUE, invert=True)
    dot = np.zeros((6, 6), bool)
    dot[3, 3] = True
    with pytest.raises(BadInput, match="shrunk by 1 pixels"):
        sprite_mask(solid, Rule.MASK, given=dot, grow=-1)
    with pytest.raises(BadInput, match="none is given"):
        sprite_mask(solid, Rule.MASK)
    with pytest.raises(BadInput, match="'red' is no colour"):
        sprite_mask(solid, Rule.COLOUR, colour="red")
    with pytest.raises(BadInput, match="whole picture is transparent"):
        sprite_mask(np.zeros((6, 6, 4), np.uint8), Rule.COMMONEST)
