"""Inpainting pixel art: on its own grid, in its own colours, with its outline."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import fake_grids
from comfy_nodes.errors import BadInput
from comfy_nodes.ops import pixel_art
from comfy_nodes.ops.color import pack
from comfy_nodes.ops.inpaint import PixelArtMode, Stitch, crop, stitch
from comfy_nodes.ops.pictures import from_bytes, to_bytes
from comfy_nodes.ops.repaint import inside_outline
from comfy_nodes.ops.seam import Match

Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]
CLEAR = 255


def sprite(seed: int = 0, side: int = 24, *, alpha: bool = False) -> Bytes:
    """A disc with an outline before white, or before nothing."""
    rng = np.random.default_rng(seed)
    colors = rng.integers(90, 240, (6, 3)).astype(np.uint8)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    away = np.hypot(x, y)
    picture = np.full((side, side, 4), 255, np.uint8)
    picture[..., :3] = np.where(
        (away < side * 0.4)[..., None], colors[rng.integers(0, 6, (side, side))], picture[..., :3]
    )
    disc = away < side * 0.4
    inner = disc.copy()
    inner[1:-1, 1:-1] = (
        disc[1:-1, 1:-1] & disc[:-2, 1:-1] & disc[2:, 1:-1] & disc[1:-1, :-2] & disc[1:-1, 2:]
    )
    picture[disc & ~inner, :3] = (20, 12, 30)
    picture[~disc] = (0, 0, 0, 0) if alpha else (255, 255, 255, 255)
    return picture if alpha else picture[..., :3].copy()


def enlarged(picture: Bytes, pitch: int) -> Bytes:
    return picture.repeat(pitch, axis=0).repeat(pitch, axis=1)


def batch(*pictures: Bytes) -> torch.Tensor:
    return from_bytes(np.stack(pictures))


def random_mask(rng: np.random.Generator, height: int, width: int) -> torch.Tensor:
    """A rectangle with holes, of soft and hard values."""
    mask = np.zeros((height, width), np.float32)
    top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
    bottom, right = rng.integers(height // 2, height) + 1, rng.integers(width // 2, width) + 1
    mask[top:bottom, left:right] = 1.0
    mask[rng.random((height, width)) < 0.02] = 0.0
    mask[rng.random((height, width)) < 0.02] = 0.4
    return torch.from_numpy(mask)[None]


def painted_at_random(rng: np.random.Generator, cut: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(rng.random(tuple(cut.shape)).astype(np.float32))


# ------------------------------------------------------------------ outside, and unchanged


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    pitch=st.integers(1, 5),
    alpha=st.booleans(),
    mode=st.sampled_from(list(PixelArtMode)),
    match=st.sampled_from(list(Match)),
    feather=st.integers(0, 3),
    keep_outline=st.booleans(),
    new_colours=st.integers(0, 3),
    size=st.sampled_from([(64, 64), (48, 80), (128, 64), (16, 24)]),
)
def test_outside_the_mask_every_byte_is_the_sources(
    seed: int,
    pitch: int,
    alpha: bool,
    mode: PixelArtMode,
    match: Match,
    feather: int,
    keep_outline: bool,
    new_colours: int,
    size: tuple[int, int],
) -> None:
    rng = np.random.default_rng(seed)
    picture = enlarged(sprite(seed, alpha=alpha), pitch)
    mask = random_mask(rng, *picture.shape[:2])
    image = batch(picture)
    try:
        cut, _, way_back = crop(image, mask, *size, grow=2, feather=feather, pixel_art=mode)
    except BadInput:
        assert way_without_whole_cells(picture, mask)
        return
    result = stitch(
        way_back,
        painted_at_random(rng, cut),
        keep_outline=keep_outline,
        new_colours=new_colours,
        match=match,
    )
    outside = (mask[0] == 0).numpy()
    assert np.array_equal(to_bytes(result)[0][outside], picture[outside])


def way_without_whole_cells(picture: Bytes, mask: torch.Tensor) -> bool:
    return not pixel_art.read(picture).whole(mask[0].numpy() >= 0.5).any()


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["sprite", "transparent", "photo"]),
    mode=st.sampled_from(list(PixelArtMode)),
    match=st.sampled_from(list(Match)),
    size=st.sampled_from([(64, 64), (48, 80), (512, 512), (8, 16)]),
    half=st.booleans(),
    tries=st.integers(1, 3),
    context=st.floats(1.0, 3.0),
)
def test_a_crop_that_comes_back_unchanged_changes_nothing(
    seed: int,
    kind: str,
    mode: PixelArtMode,
    match: Match,
    size: tuple[int, int],
    half: bool,
    tries: int,
    context: float,
) -> None:
    rng = np.random.default_rng(seed)
    if kind == "photo":
        picture = rng.integers(0, 256, (47, 61, 3)).astype(np.uint8)
    else:
        picture = enlarged(sprite(seed, alpha=kind == "transparent"), 3)
    other = picture[::-1].copy()
    image = batch(picture, other)
    mask = torch.ones(1, *picture.shape[:2])
    mask[:, : rng.integers(1, 9)] = 0.0
    cut, _, way_back = crop(image, mask, *size, feather=1, context=context, pixel_art=mode)
    back = cut.repeat(tries, 1, 1, 1)
    result = stitch(way_back, back.half() if half else back, new_colours=2, match=match)
    assert np.array_equal(to_bytes(result), np.concatenate([[picture, other]] * tries))


def test_only_what_was_changed_is_repainted() -> None:
    picture = enlarged(sprite(3), 4)
    mask = torch.ones(1, 96, 96)
    for mode in PixelArtMode:
        cut, _, way_back = crop(batch(picture), mask, 192, 192, context=1.0, pixel_art=mode)
        changed = cut.clone()
        changed[:, 96:104, 88:96] = torch.tensor([0.9, 0.1, 0.1])
        result = to_bytes(stitch(way_back, changed))[0]
        differs = np.argwhere((result != picture).any(axis=-1))
        assert differs.min(axis=0).tolist() == [48, 44]
        assert differs.max(axis=0).tolist() == [51, 47]


# ------------------------------------------------------------------------ grid and palette


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    pitch=st.integers(1, 6),
    alpha=st.booleans(),
    keep_outline=st.booleans(),
    new_colours=st.integers(0, 4),
    size=st.sampled_from([(64, 64), (96, 48), (24, 24)]),
)
def test_no_new_colour_and_no_half_mixed_pixel(
    seed: int, pitch: int, alpha: bool, keep_outline: bool, new_colours: int, size: tuple[int, int]
) -> None:
    rng = np.random.default_rng(seed)
    true = sprite(seed, alpha=alpha)
    picture = enlarged(true, pitch)
    mask = torch.zeros(1, *picture.shape[:2])
    # Not on the grid: what is left of the mask is.
    mask[:, 5 * pitch - 1 : 19 * pitch + 1, 3 * pitch : 18 * pitch + 1] = 1.0
    cut, _, way_back = crop(batch(picture), mask, *size, pixel_art=PixelArtMode.AUTO)
    painted = painted_at_random(rng, cut)
    result = to_bytes(
        stitch(way_back, painted, keep_outline=keep_outline, new_colours=new_colours)
    )[0]
    # Each cell has one colour.
    cells = result[::pitch, ::pitch]
    assert np.array_equal(enlarged(cells, pitch), result)
    before, after = (
        set(pack(one[one[..., 3] > 0] if alpha else one).ravel().tolist()) for one in (true, cells)
    )
    assert len(after - before) <= new_colours
    if alpha:
        assert set(np.unique(result[..., 3]).tolist()) <= {0, 255}


def test_a_drifting_grid_is_repainted_cell_by_cell() -> None:
    true = fake_grids.figure(np.random.default_rng(1))[:20, :20]
    columns = np.cumsum([0, *np.tile([9, 10, 9, 11], 5)])
    picture = np.repeat(np.repeat(true, np.diff(columns), axis=0), np.diff(columns), axis=1)
    art = pixel_art.find(picture)
    assert art is not None
    # Borders that nothing shows may be anywhere; all others are where they are, to the pixel.
    assert np.array_equal(art.true, true)
    assert np.array_equal(art.spread(art.true), picture)
    mask = torch.zeros(1, *picture.shape[:2])
    mask[:, 50:150, 50:150] = 1.0
    cut, _, way_back = crop(batch(picture), mask, 64, 64, pixel_art=PixelArtMode.AUTO)
    result = to_bytes(stitch(way_back, painted_at_random(np.random.default_rng(2), cut)))[0]
    there = {tuple(color) for color in picture.reshape(-1, 3).tolist()}
    assert {tuple(color) for color in result.reshape(-1, 3).tolist()} <= there
    middle = [(one[:-1] + one[1:]) // 2 for one in (art.rows, art.columns)]
    assert np.array_equal(art.spread(result[middle[0]][:, middle[1]]), result)
    assert not np.array_equal(result, picture)


def test_photographs_and_noise_are_no_pixel_art() -> None:
    rng = np.random.default_rng(4)
    ramp = np.linspace(0, 255, 200)[None, :, None] * np.linspace(0.2, 1, 160)[:, None, None]
    smooth = np.clip(ramp + rng.normal(0, 4, (160, 200, 3)), 0, 255).astype(np.uint8)
    assert pixel_art.find(smooth) is None
    assert pixel_art.find(rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)) is None
    assert pixel_art.find(sprite(1)) is not None
    assert pixel_art.find(enlarged(sprite(1), 7)) is not None


def test_each_true_pixel_is_as_many_pixels_of_the_crop() -> None:
    mask = torch.zeros(1, 96, 96)
    mask[:, 24:64, 24:64] = 1.0
    picture = enlarged(sprite(5), 4)
    cut, cut_mask, way_back = crop(batch(picture), mask, 128, 128, pixel_art=PixelArtMode.AUTO)
    (box,) = way_back.boxes
    assert (box.width, box.height) == (16, 16)
    seen = to_bytes(cut)[0]
    assert np.array_equal(enlarged(seen[::8, ::8], 8), seen)
    assert int(cut_mask.sum()) == 10 * 10 * 8 * 8


def test_a_mask_without_a_whole_true_pixel_is_refused_before_sampling() -> None:
    mask = torch.zeros(1, 96, 96)
    mask[:, 1:4, 1:4] = 1.0
    with pytest.raises(BadInput, match="no whole true pixel of the picture, which are 4x4"):
        crop(batch(enlarged(sprite(5), 4)), mask, 64, 64, pixel_art=PixelArtMode.AUTO)


# ------------------------------------------------------------------------ outline, background


def repainted(picture: Bytes, colour: tuple[int, int, int], **choices: bool) -> Bytes:
    """All of it painted in one colour."""
    way_back: Stitch
    mask = torch.ones(1, *picture.shape[:2])
    cut, _, way_back = crop(batch(picture), mask, 64, 64, context=1.0, pixel_art=PixelArtMode.AUTO)
    paint = torch.tensor(colour).float().expand_as(cut) / 255
    return to_bytes(stitch(way_back, paint, **choices))[0]


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("pitch", [1, 3])
def test_the_outline_is_kept_closed_and_so_is_what_is_outside(alpha: bool, pitch: int) -> None:
    true = sprite(7, alpha=alpha)
    dark = (true[..., :3] == (20, 12, 30)).all(axis=-1)
    inside = filled(dark) & ~dark
    result = repainted(enlarged(true, pitch), (255, 255, 255), keep_outline=True)[::pitch, ::pitch]
    assert np.array_equal(result[~inside], true[~inside])
    assert not (result[inside] == true[inside]).all()
    without = repainted(enlarged(true, pitch), (255, 255, 255))[::pitch, ::pitch]
    assert not np.array_equal(without[dark], true[dark])


def filled(lines: Flags) -> Flags:
    """The lines and what they enclose; nothing where they have a gap."""
    from scipy import ndimage

    return np.asarray(ndimage.binary_fill_holes(lines))


def test_lines_that_go_on_inside_are_kept_and_filled_parts_are_not() -> None:
    true = sprite(8)
    true[12, 4:20] = (20, 12, 30)
    true[14:18, 9:15] = (20, 12, 30)
    kept = ~inside_outline(true, np.ones(true.shape[:2], bool))
    assert kept[12, 4:20].all()
    assert not kept[14:18, 9:15].any()


def test_a_scene_without_a_background_has_no_outline_to_keep() -> None:
    rng = np.random.default_rng(9)
    scene = np.array([[30, 60, 30], [90, 140, 60], [140, 100, 60]], np.uint8)[
        rng.integers(0, 3, (24, 24))
    ]
    taken = np.ones((24, 24), bool)
    assert inside_outline(scene, taken).all()


def test_painted_background_is_transparent_and_enclosed_highlights_are_not() -> None:
    true = sprite(10, alpha=True)
    picture = enlarged(true, 2)
    mask = torch.ones(1, 48, 48)
    cut, _, way_back = crop(batch(picture), mask, 48, 48, context=1.0, pixel_art=PixelArtMode.AUTO)
    paint = torch.ones_like(cut)
    paint[:, 12:36, 12:36] = torch.tensor([20, 12, 30]) / 255
    paint[:, 20:28, 20:28] = 1.0
    result = to_bytes(stitch(way_back, paint))[0][::2, ::2]
    assert (result[6:18, 6:18, 3] == CLEAR).all()
    rest = np.ones((24, 24), bool)
    rest[6:18, 6:18] = False
    assert (result[rest] == 0).all()


# ------------------------------------------------------------------------------- the seam


def step_across(picture: torch.Tensor, old: torch.Tensor, mask: torch.Tensor) -> float:
    """Mean difference of neighbours on both sides of the mask's edge, against what it was."""
    inside = mask[0] > 0
    right = inside[:, :-1] != inside[:, 1:]
    down = inside[:-1] != inside[1:]
    apart = [
        ((one[:, 1:] - one[:, :-1])[right], (one[1:] - one[:-1])[down]) for one in (picture, old)
    ]
    return float(torch.cat([new - was for new, was in zip(*apart, strict=True)]).abs().mean())


@pytest.mark.parametrize("size", [(64, 64), (200, 160)])
def test_the_step_across_the_seam_is_smaller_when_colours_are_matched(
    size: tuple[int, int],
) -> None:
    y, x = torch.meshgrid(torch.linspace(0, 1, 90), torch.linspace(0, 1, 120), indexing="ij")
    old = torch.stack([0.3 + 0.3 * x, 0.5 + 0.2 * y, 0.4 + 0.1 * x * y], dim=-1)
    mask = ((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.06).float()[None]
    cut, _, way_back = crop(old[None], mask, *size, context=1.6)
    # What a model gives back: darker, and more so on one side.
    tinted = cut * 0.85 - 0.05 * torch.linspace(0, 1, cut.shape[2])[None, None, :, None] + 0.02
    off, mean, seam = (
        step_across(stitch(way_back, tinted, match=match)[0], old, mask) for match in Match
    )
    assert mean < 0.4 * off
    assert seam < 0.1 * off
    assert seam < 0.5 * mean


def test_a_mask_over_the_whole_picture_has_no_seam_to_match() -> None:
    image = torch.rand(1, 40, 40, 3)
    cut, _, way_back = crop(image, torch.ones(1, 40, 40), 64, 64)
    plain, shifted = (stitch(way_back, 1.0 - cut, match=match) for match in (Match.OFF, Match.SEAM))
    assert torch.equal(plain, shifted)
