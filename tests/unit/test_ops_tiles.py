"""Tiles whose edges did not meet go on over them, in their own pixels."""

from __future__ import annotations

import itertools
import os
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from comfy_nodes.errors import BadInput
from comfy_nodes.ops import tiles
from comfy_nodes.ops.color import pack
from comfy_nodes.ops.tile_edges import seam
from comfy_nodes.ops.tiles import close_seams

Pixels = NDArray[np.uint8]

GREENS = np.array([[30, 60, 30], [46, 92, 40], [70, 120, 52], [104, 150, 70]], np.uint8)


def meadow(height: int = 32, width: int = 32, seed: int = 0, slope: float = 3.0) -> Pixels:
    """Grass in four greens that grows lighter to the right and the bottom, so edges do not meet."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    light = slope * (x / width + y / height) / 2 + random.random((height, width))
    return GREENS[np.clip(light, 0, 3).astype(int)]


def colours(picture: Pixels) -> set[int]:
    return set(pack(picture).ravel().tolist())


@given(
    height=st.integers(8, 40),
    width=st.integers(8, 40),
    seed=st.integers(0, 1000),
    slope=st.sampled_from([0.0, 1.0, 3.0]),
)
def test_no_colour_comes_in_and_the_middle_stays(height, width, seed, slope) -> None:
    tile = meadow(height, width, seed, slope)

    closed = close_seams(tile, most=1)

    assert closed.picture.shape == tile.shape
    assert colours(closed.picture) <= colours(tile)
    middle = slice(height // 4, height - height // 4), slice(width // 4, width - width // 4)
    assert np.array_equal(closed.picture[middle], tile[middle])
    assert closed.changed == (closed.picture != tile).any(axis=2).mean()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("alpha", [False, True])
def test_the_step_across_the_edge_falls_to_that_inside(seed, alpha) -> None:
    tile = meadow(48, 40, seed)
    if alpha:
        tile = np.dstack([tile, np.full(tile.shape[:2], 255, np.uint8)])
        tile[20:24, 18:22, 3] = 0

    closed = close_seams(tile)

    assert closed.before > 2
    assert closed.after == seam(closed.picture) <= 1.4
    # the cuts are no new seams
    assert 0 < closed.cut <= 1.5


def test_no_line_of_the_closed_tile_is_a_seam() -> None:
    tile = meadow(64, 64, seed=4)

    laid = np.tile(close_seams(tile).picture, (2, 2, 1)).astype(int)

    usual = np.median(np.abs(np.diff(tile.astype(int), axis=0)).mean(axis=(1, 2)))
    for axis in (0, 1):
        steps = np.abs(np.diff(laid, axis=axis)).mean(axis=(1 - axis, 2))
        assert steps.max() < 1.6 * usual


def test_a_tile_that_goes_on_stays_as_it_is() -> None:
    y, x = np.mgrid[:32, :32] * (2 * np.pi / 32)
    tile = np.repeat((128 + 50 * np.sin(x) + 40 * np.cos(y))[..., None], 3, axis=2)
    tile = tile.astype(np.uint8)

    closed = close_seams(tile)

    assert closed.picture.tobytes() == tile.tobytes()
    assert (closed.cut, closed.changed) == (0, 0)
    assert closed.before == closed.after


def test_only_the_axis_with_a_seam_is_closed() -> None:
    y, x = np.mgrid[:32, :32]
    tile = np.repeat((x * 6 + 8 * np.cos(y * np.pi / 16))[..., None] + 10, 3, axis=2)
    tile = tile.astype(np.uint8)

    closed = close_seams(tile)

    # the cuts run down, and what lies beside them is whole columns
    assert np.array_equal(closed.picture[:, 8:24], tile[:, 8:24])
    assert closed.after < closed.before


@given(
    hnp.arrays(
        np.float64, st.tuples(st.integers(1, 4), st.integers(1, 5)), elements=st.integers(0, 9)
    )
)
def test_a_cut_is_the_cheapest_closed_path(costs) -> None:
    positions, across = costs.shape
    closed = [
        path
        for path in itertools.product(range(positions), repeat=across)
        if all(abs(one - other) <= 1 for one, other in pairwise([*path, path[0]]))
    ]
    every = np.arange(across)
    cheapest = min(costs[list(path), every].sum() for path in closed)

    found = tiles._path(costs)

    assert tuple(found.tolist()) in closed
    assert costs[found, every].sum() == cheapest
    assert tiles._least(costs[None]) == [cheapest]


def test_too_small_a_tile_is_refused_or_left() -> None:
    with pytest.raises(BadInput, match="6x6"):
        close_seams(meadow(6, 6, slope=3)[:, :6], most=0.1)
    tiny = meadow(2, 2)
    assert np.array_equal(close_seams(tiny).picture, tiny)
    assert close_seams(tiny).before is None


def test_tiles_of_a_real_game_that_were_cut_go_on_again() -> None:
    """Floors and walls, cut to 25x27 so that they do not meet any more."""
    file = os.environ.get("SPRITEWORKS_TILES")
    if not file:
        pytest.skip("SPRITEWORKS_TILES names no tiles.npz of Dungeon Crawl Stone Soup")
    with np.load(file) as loaded:
        names, pixels = loaded["names"].tolist(), loaded["pixels"]
    whole = [
        picture
        for name, picture in zip(names, pixels, strict=True)
        if name.startswith(("dngn/floor", "dngn/wall")) and (picture[..., 3] == 255).all()
    ]
    cut = [picture[:27, :25] for picture in whole if seam(picture[:27, :25]) > 2]
    closed = [close_seams(picture) for picture in cut]

    assert len(cut) > 300
    assert np.mean([one.after <= 2 for one in closed]) >= 0.95
    assert np.median([one.after for one in closed]) <= 1
    for one, picture in zip(closed, cut, strict=True):
        assert colours(one.picture) <= colours(picture)
