"""Measures of the grid: whether a picture's pixels are true ones, and how good a grid they are on.

A picture at its true size has no cells of more than one pixel; the measures of its cells do not
apply there.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..arrays import Bytes
from ..true_pixels import snap
from .subject import Subject

# Pitches that differ by no more than this part are one.
_SAME = 0.08
# px; in a smaller part of a picture a grid cannot be told from none.
_SMALLEST_PART = 65
# px; so much of a part shows its grid.
_ENOUGH = 192
# A border in a profile is no smaller than this part of the largest ones.
_CLEAR = 0.2


def pixel_size(subject: Subject) -> float:
    """Side of a pixel in px, 1 at true size; the mean of both axes."""
    across, down = subject.snapped.pitch
    return float(np.sqrt(across * down))


def snap_changes(subject: Subject) -> float:
    """Share of the true pixels that another snap would change, 0 to 1; 1 if it changes the size."""
    once = subject.snapped.picture
    twice = snap(once).picture
    if twice.shape != once.shape:
        return 1.0
    return float((twice != once).any(axis=-1).mean())


def grid_energy(subject: Subject) -> float | None:
    """Share of all steps between neighbouring pixels that lie on borders of cells, 0 to 1."""
    if not _has_cells(subject):
        return None
    on = total = 0.0
    for profile, borders in zip(_profiles(subject), _borders(subject), strict=True):
        total += profile.sum()
        on += profile[borders[(borders > 0) & (borders < len(profile))]].sum()
    return float(on / total) if total else None


def spacing_deviation(subject: Subject) -> float | None:
    """Mean deviation of the borders' distances from whole cells, as a part of a cell; 0: even."""
    if not _has_cells(subject):
        return None
    found = []
    for profile, pitch in zip(_profiles(subject), subject.snapped.pitch, strict=True):
        gaps = np.diff(_peaks(profile))
        cells = np.maximum(1, np.rint(gaps / pitch))
        found.append(np.abs(gaps - cells * pitch) / (cells * pitch))
    deviations = np.concatenate(found)
    return float(deviations.mean()) if len(deviations) else None


def block_consistency(subject: Subject) -> float | None:
    """Mean share of a cell's pixels that have exactly the cell's commonest colour, 0 to 1."""
    if not _has_cells(subject):
        return None
    height, width = subject.picture.shape[:2]
    columns, rows = (
        np.searchsorted(borders, np.arange(length), side="right")
        for borders, length in zip(_borders(subject), (width, height), strict=True)
    )
    cell = rows[:, None].astype(np.int64) * (int(columns.max()) + 1) + columns[None, :]
    color = np.zeros((height, width), dtype=np.int64)
    for channel in range(subject.picture.shape[2]):
        color = color << 8 | subject.picture[..., channel]
    both, counts = np.unique(cell << 32 | color, return_counts=True)
    _, starts = np.unique(both >> 32, return_index=True)
    most = np.maximum.reduceat(counts, starts)
    sizes = np.add.reduceat(counts, starts)
    return float((most / sizes).mean())


def pixel_sizes(subject: Subject) -> float | None:
    """How many sizes of pixels the nine parts of a picture have, 3 by 3, where a grid is sure."""
    pitches = []
    for part in _parts(subject.picture):
        found = snap(part)
        if found.sure and found.pitch != (1.0, 1.0):
            pitches.append(float(np.sqrt(found.pitch[0] * found.pitch[1])))
    if not pitches:
        return None
    steps = np.diff(np.sort(np.log(pitches)))
    return float(1 + np.count_nonzero(steps > np.log1p(_SAME)))


def _parts(picture: Bytes) -> list[Bytes]:
    height, width = picture.shape[:2]
    if min(height, width) < 3 * _SMALLEST_PART:
        return []
    rows, columns = (np.linspace(0, side, 4).astype(int) for side in (height, width))
    return [
        picture[top : min(bottom, top + _ENOUGH), left : min(right, left + _ENOUGH)]
        for top, bottom in pairwise(rows)
        for left, right in pairwise(columns)
    ]


def _has_cells(subject: Subject) -> bool:
    return subject.snapped.pitch != (1.0, 1.0)


def _borders(subject: Subject) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pixels at which cells begin, but the first, on x and y."""
    height, width = subject.picture.shape[:2]
    found = subject.snapped
    x, y = (
        np.unique(np.rint((offset or pitch) + pitch * np.arange(int(length / pitch) + 1)))
        for offset, pitch, length in zip(found.offset, found.pitch, (width, height), strict=True)
    )
    return x[x < width].astype(np.int64), y[y < height].astype(np.int64)


def _profiles(subject: Subject) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The steps between each column and the one before it, and each row, summed up."""
    # What is hidden has no steps.
    shown = np.where(subject.visible[..., None], subject.rgb, 0).astype(np.int16)
    profiles = []
    for axis in (1, 0):
        steps = np.abs(np.diff(shown, axis=axis)).sum(axis=(1 - axis, 2), dtype=np.int64)
        profiles.append(np.concatenate([[0.0], steps.astype(np.float64)]))
    return profiles[0], profiles[1]


def _peaks(profile: NDArray[np.float64]) -> NDArray[np.int64]:
    """Where a profile is larger than on both sides, and clearly more than nothing."""
    padded = np.concatenate([[-1.0], profile, [-1.0]])
    top = (profile > padded[:-2]) & (profile >= padded[2:])
    large = np.sort(profile[top])[-max(1, int(top.sum()) // 4) :]
    return np.flatnonzero(top & (profile >= _CLEAR * np.median(large)) & (profile > 0))
