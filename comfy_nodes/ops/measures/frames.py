"""Measures of the frames of one animation, and of several animations of one thing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ..alignment import ground_points
from ..arrays import Flags, Floats
from ..color import oklab, pack
from .subject import Subject

# A silhouette is compared on so many parts, across and down.
_PARTS = 16
# OKLab; a pixel that changes by less, and not by nothing, has been painted anew and has not moved.
_PAINTED_ANEW = 0.1

_Point = tuple[int, int] | None


def height_variation(frames: Sequence[Subject]) -> float | None:
    """How far the sprite's height in px differs, the largest less the smallest, by the median."""
    boxes = [box for box in map(_box, frames) if box is not None]
    if len(boxes) < 2:
        return None
    heights = np.array([bottom - top for top, bottom, _, _ in boxes])
    return float(np.ptp(heights) / np.median(heights))


def baseline_jitter(frames: Sequence[Subject]) -> float | None:
    """How far, in px, the ground under the sprite is from its median, at most.

    It is the ground point's (`ops.alignment.ground_points`), seen from the picture's top, so the
    frames must have one size.
    """
    return _jitter(frames, 1)


def centroid_jitter(frames: Sequence[Subject]) -> float | None:
    """How far, in px, the middle of the sprite's core is from its median, at most.

    It is the ground point's, too, which a moved limb does not shift.
    """
    return _jitter(frames, 0)


def _jitter(frames: Sequence[Subject], axis: int) -> float | None:
    points = [point for point in ground_points([one.visible for one in frames]) if point]
    if len(points) < 2 or not _one_size(frames):
        return None
    places = np.array(points)[:, axis]
    return float(np.abs(places - np.median(places)).max())


def palette_overlap(frames: Sequence[Subject]) -> float | None:
    """Mean share of a frame's visible pixels whose colour another frame has, too; 0 to 1."""
    tallies = [frame.tally for frame in frames if len(frame.tally[0])]
    if len(tallies) < 2:
        return None
    every, first = np.unique(np.concatenate([packed for packed, _ in tallies]), return_counts=True)
    shared = every[first > 1]
    shares = [counts[np.isin(packed, shared)].sum() / counts.sum() for packed, counts in tallies]
    return float(np.mean(shares))


def flicker(frames: Sequence[Subject]) -> float | None:
    """Share of the pixels that stay, frame to frame, whose colour changes a little; the largest.

    A little is up to 0.1 in OKLab: what moves changes by more, and what stands by nothing. A sprite
    that moves as a whole takes its shades with it, so where fewer change once the frames are laid
    on each other, by their ground points, those count.
    """
    if len(frames) < 2 or not _one_size(frames):
        return None
    placed = zip(frames, ground_points([one.visible for one in frames]), strict=True)
    return max(_changed(*one, *other) for one, other in pairwise(placed))


def _changed(one: Subject, before: _Point, other: Subject, after: _Point) -> float:
    standing = _repainted(one, other, 0, 0)
    if not standing or before is None or after is None or before == after:
        return standing
    return min(standing, _repainted(one, other, after[1] - before[1], after[0] - before[0]))


def _repainted(one: Subject, other: Subject, down: int, right: int) -> float:
    """Share of the pixels of both, the other moved up and left by so many, that differ a little."""
    height, width = one.visible.shape
    first = (_kept(height, -down), _kept(width, -right))
    second = (_kept(height, down), _kept(width, right))
    both = one.visible[first] & other.visible[second]
    if not both.any():
        return 0.0
    before, after = one.rgb[first][both], other.rgb[second][both]
    differs = pack(before) != pack(after)
    distance: Floats = np.sqrt(((oklab(before[differs]) - oklab(after[differs])) ** 2).sum(axis=1))
    return float(np.count_nonzero(distance <= _PAINTED_ANEW) / both.sum())


def consistency(frames: Sequence[Subject]) -> float | None:
    """How alike the silhouettes are, 0 to 1: the least of each frame's mean cosine with the others.

    Each sprite's box is laid on 16 by 16 parts, so that neither its place nor its size counts.
    """
    shapes = [_shape(frame.visible, box) for frame in frames if (box := _box(frame)) is not None]
    if len(shapes) < 2:
        return None
    vectors = np.stack(shapes)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    # The sum of one's cosines with all is one's product with their sum.
    with_all = vectors @ vectors.sum(axis=0)
    return float(((with_all - 1) / (len(vectors) - 1)).min())


def scale_variation(sets: Sequence[Sequence[Subject]]) -> float | None:
    """How far, in px, the sets' median heights of the sprite differ: the largest less the least."""
    heights = []
    for frames in sets:
        boxes = [box for box in map(_box, frames) if box is not None]
        if boxes:
            heights.append(float(np.median([bottom - top for top, bottom, _, _ in boxes])))
    return max(heights) - min(heights) if len(heights) >= 2 else None


def _box(frame: Subject) -> tuple[int, int, int, int] | None:
    """Top, bottom, left, right of what is visible, the ends one past it."""
    rows = np.flatnonzero(frame.visible.any(axis=1))
    columns = np.flatnonzero(frame.visible.any(axis=0))
    if not len(rows):
        return None
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _kept(length: int, by: int) -> slice:
    """Of a line, what is left in it after a move towards its begin."""
    return slice(max(0, by), length + min(0, by))


def _shape(visible: Flags, box: tuple[int, int, int, int]) -> Floats:
    """Share of each of 16 by 16 parts of the box that is visible, by sums over areas."""
    top, bottom, left, right = box
    area = np.zeros((bottom - top + 1, right - left + 1))
    area[1:, 1:] = visible[top:bottom, left:right].cumsum(axis=0).cumsum(axis=1)
    rows, columns = (np.linspace(0, side - 1, _PARTS + 1) for side in area.shape)
    by_rows = np.stack([np.interp(rows, np.arange(len(area)), one) for one in area.T], axis=1)
    by_both = np.stack([np.interp(columns, np.arange(area.shape[1]), one) for one in by_rows])
    shape: Floats = np.diff(np.diff(by_both, axis=0), axis=1).ravel()
    return shape


def _one_size(frames: Sequence[Subject]) -> bool:
    return len({frame.visible.shape for frame in frames}) == 1
