"""The pixel grid of a sprite: finds the size of its fake pixels and makes them real ones.

Pictures are uint8 [H, W, C]. A grid has a cell side in pixels and, on each axis, the position of
its first border (0 <= offset < side), since a picture need not start on a border.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Bytes

LARGEST = 128
"""Largest pixel size, in pixels."""

FALLBACK_PIXELS = 64
"""Pixels across the short side that a picture without a grid is given."""

# Chance-corrected share of the gradient that must lie on cell borders to speak of a grid.
_EVIDENCE = 0.2
# A multiple of the true size catches about half of the evidence, a divisor all of it: the largest
# size within this part of the best is the true one.
_CLOSE = 0.85


class Method(str, Enum):
    """Which colour a cell gets."""

    MODE = "mode"  # the most common colour, shades of it taken together; else as MEDIAN
    MEDIAN = "median"  # the median of each channel
    CENTER = "center"  # the pixel in the middle


@dataclass(frozen=True)
class Grid:
    """A cell side and the first border on each axis, all in pixels."""

    size: int
    x: int = 0
    y: int = 0


def find_grid(picture: Bytes) -> Grid:
    """The grid of a picture; without one, a grid of FALLBACK_PIXELS cells on the short side.

    A picture whose every edge lies on some grid keeps the largest such grid exactly, which is
    what makes snapping idempotent. Else the size is the largest whose borders carry nearly as
    much of the gradient as any size's do.
    """
    across, down = _profiles(picture)
    largest = min(LARGEST, *picture.shape[:2])
    scores = {size: _evidence(across, down, size) for size in range(2, largest + 1)}
    exact = [size for size, score in scores.items() if score == 1.0]
    if exact:
        return with_offsets(picture, max(exact))
    best = max(scores.values(), default=0.0)
    if best < _EVIDENCE:
        return Grid(max(1, min(picture.shape[:2]) // FALLBACK_PIXELS))
    return with_offsets(picture, max(s for s, score in scores.items() if score >= _CLOSE * best))


def with_offsets(picture: Bytes, size: int) -> Grid:
    """The grid of a known size whose borders lie on most of the picture's gradient."""
    across, down = _profiles(picture)
    return Grid(size, _best_offset(across, size)[0], _best_offset(down, size)[0])


def snap(picture: Bytes, grid: Grid, method: Method = Method.MODE) -> Bytes:
    """The picture with one colour in each cell; cells cut by the picture's edge count as cells."""
    if grid.size == 1:
        return picture.copy()
    rows = _cell_of(picture.shape[0], grid.y, grid.size)
    columns = _cell_of(picture.shape[1], grid.x, grid.size)
    cells = rows[:, None] * (columns[-1] + 1) + columns[None, :]
    if method is Method.CENTER:
        return picture[_centers(rows)[rows]][:, _centers(columns)[columns]]
    pixels: Bytes = picture.reshape(-1, picture.shape[2])
    labels = cells.reshape(-1)
    if method is Method.MODE:
        chosen = _most_common(pixels, labels)
        pixels, kept = pixels[chosen], labels[chosen]
    else:
        kept = labels
    colors = np.stack([_medians(pixels[:, c], kept) for c in range(picture.shape[2])], axis=1)
    return colors[labels].reshape(picture.shape)


def _profiles(picture: Bytes) -> tuple[NDArray[Any], NDArray[Any]]:
    """Summed absolute gradient at each inner column and row border; entry i is border i + 1."""
    wide = picture.astype(np.int64)
    return (
        np.abs(np.diff(wide, axis=1)).sum(axis=(0, 2)),
        np.abs(np.diff(wide, axis=0)).sum(axis=(1, 2)),
    )


def _best_offset(profile: NDArray[Any], size: int) -> tuple[int, int]:
    """The offset (position of borders modulo size) with most gradient, and that gradient."""
    sums = np.bincount((np.arange(len(profile)) + 1) % size, weights=profile, minlength=size)
    offset = int(sums.argmax())
    return offset, int(sums[offset])


def _evidence(across: NDArray[Any], down: NDArray[Any], size: int) -> float:
    """Share of the gradient on the borders of the best grid of that size, corrected for chance.

    1.0 when all of it lies there, about 0 for a picture that has nothing to do with the grid.
    """
    total = int(across.sum() + down.sum())
    if total == 0:
        return 0.0
    on_borders = _best_offset(across, size)[1] + _best_offset(down, size)[1]
    if on_borders == total:
        return 1.0
    return min((on_borders / total - 1.0 / size) / (1.0 - 1.0 / size), 1.0 - 1e-9)


def _cell_of(length: int, offset: int, size: int) -> NDArray[np.int64]:
    """The cell index of each pixel along an axis, from 0 and without gaps."""
    index = (np.arange(length) - offset) // size
    cells: NDArray[np.int64] = index - index[0]
    return cells


def _centers(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """The position of the middle pixel of each cell along an axis."""
    counts = np.bincount(cells)
    starts = np.concatenate([[0], counts.cumsum()[:-1]])
    middle: NDArray[np.int64] = starts + counts // 2
    return middle


def _most_common(pixels: Bytes, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which pixels belong to the most common shade of their cell; all where two are as common.

    A shade is a cube of 8 steps a channel: noise and JPEG scatter a flat colour over a few steps,
    and counting exact colours would then pick one at random. So would a tie, which small blurred
    cells often have.
    """
    shade = np.zeros(len(pixels), dtype=np.int64)
    for channel in range(pixels.shape[1]):
        shade = shade * 32 + (pixels[:, channel] >> 3)
    shades = 32 ** pixels.shape[1]
    unique, inverse, counts = np.unique(
        labels * shades + shade, return_inverse=True, return_counts=True
    )
    most = np.zeros(labels.max() + 1, dtype=np.int64)
    np.maximum.at(most, unique // shades, counts)
    winners = counts == most[unique // shades]
    tied = np.bincount((unique // shades)[winners]) > 1
    chosen: NDArray[np.bool_] = winners[inverse.ravel()] | tied[labels]
    return chosen


def _medians(values: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The lower median of the values of each label; labels are 0..n-1, each present."""
    order = np.lexsort((values, labels))
    counts = np.bincount(labels)
    starts = np.concatenate([[0], counts.cumsum()[:-1]])
    medians: NDArray[np.uint8] = values[order][starts + (counts - 1) // 2]
    return medians
