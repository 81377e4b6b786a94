"""Tiles that go on over their edges: closing the seam of those that do not.

A seam is closed by pixels of the tile itself, along cuts at which they differ least, so no colour
comes in and nothing is blurred: the quilting of A. Efros, W. Freeman, Image Quilting for Texture
Synthesis and Transfer, 2001, with the cost of V. Kwatra et al., Graphcut Textures, 2003.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import BadInput
from .arrays import Bytes, Floats, Ints
from .color import oklab
from .frames import with_opacity
from .measures.catalogue import SEAM_BOUND
from .tile_edges import seam, seam_along, shown, usual_step
from .tile_edges import steps as steps_of

# px on either side of the seam that may be changed: a quarter of the tile, and no more than these
_BAND = 16
# A tile must have so many px a side, or there is no middle to take pixels from.
_SMALLEST = 8


@dataclass(frozen=True, eq=False)
class Closed:
    """A tile whose seams are closed."""

    # uint8, of the shape of the tile that was given
    picture: Bytes
    # `seam` of the tile that was given, and of this one; None where it has too few lines
    before: float | None
    after: float | None
    # the mean step across the cuts that were made, as a multiple of the steps inside, at the larger
    # of the axes; 0 where there are none
    cut: float
    # share of the pixels that are others now, 0 to 1
    changed: float


def close_seams(picture: Bytes, most: float = SEAM_BOUND) -> Closed:
    """A tile, uint8 [H, W, 3 or 4], that goes on over its edges; no new colours, no blur.

    On each axis on which the seam is above `most`, a strip along the edge is replaced by one from
    inside the tile, in which there is no seam. Its borders are the two closed paths, a step of at
    most a pixel from line to line, at which it differs least from what it meets, and of all strips
    that are no edge of their own it is the one with the least difference. The middle of the tile,
    half of it on each axis, stays as it is, and so does a tile whose seams are within `most`.

    Raises BadInput where a side is below 8 px and there is a seam.
    """
    before = seam(picture)
    closed, cuts = picture, [0.0]
    for axis in (1, 0):
        lines = closed.swapaxes(0, axis)
        if min(picture.shape[:2]) < 3 or seam_along(shown(lines)) <= most:
            continue
        if len(lines) < _SMALLEST:
            raise BadInput(
                f"A tile of {picture.shape[1]}x{picture.shape[0]} is too small to close its seam; "
                f"it takes {_SMALLEST} px a side."
            )
        healed, cut = _healed(lines)
        closed = healed.swapaxes(0, axis)
        cuts.append(cut)
    changed = float((closed != picture).any(axis=2).mean())
    return Closed(np.ascontiguousarray(closed), before, seam(closed), max(cuts), changed)


# --------------------------------------------------------------------------------------- closing


def _healed(lines: Bytes) -> tuple[Bytes, float]:
    """The tile without a seam between its last line and its first, and the mean step at the cuts.

    Lines are along axis 0. The tile is turned by half, so that the seam is in its middle.
    """
    half, band = len(lines) // 2, min(len(lines) // 4, _BAND)
    turned = np.roll(lines, half, axis=0)
    window = slice(half - band, half + band)
    seen, inside = _perceived(turned[window]), _perceived(lines)
    starts = _starts(lines, band)
    # [starts, 2 * band, across]: how a strip that begins there differs from what it would cover
    covered = starts[:, None] + np.arange(2 * band)
    differs = np.sqrt(((inside[covered] - seen) ** 2).sum(axis=-1))
    costs = differs[:, 1:] + differs[:, :-1]
    upper, lower = costs[:, : band - 1], costs[:, band:]
    best = int(np.argmin(_least(upper) + _least(lower)))
    first = 1 + _path(upper[best])
    last = band + 1 + _path(lower[best])
    strip = lines[covered[best]]
    place = np.arange(2 * band)[:, None]
    taken = (place >= first) & (place < last)
    healed = turned.copy()
    healed[window] = np.where(taken[..., None], strip, turned[window])
    step = _step_at(healed[window], first, last) / usual_step(steps_of(shown(lines)))
    return np.roll(healed, -half, axis=0), step


def _perceived(picture: Bytes) -> Floats:
    """OKLab and alpha, [H, W, 4]; what is hidden has no colour."""
    whole = with_opacity(picture)
    alpha = whole[..., 3:] / 255.0
    return np.concatenate([oklab(whole[..., :3]) * alpha, alpha], axis=-1)


def _starts(lines: Bytes, band: int) -> Ints:
    """Where a strip may begin: its middle becomes the tile's edge, and must be a usual step."""
    starts = np.arange(len(lines) - 2 * band + 1)
    steps = steps_of(shown(lines))
    middle = steps[starts + band - 1]
    usual = starts[middle <= np.median(steps)]
    return usual if len(usual) else starts[middle == middle.min()]


def _least(costs: Floats) -> Floats:
    """The cost of the cheapest closed path through each of [N, positions, across]."""
    total = _began(costs)
    for column in range(1, costs.shape[2]):
        total = _stepped(total) + costs[:, None, :, column]
    return _ended(total).min(axis=(1, 2))


def _path(costs: Floats) -> Ints:
    """The cheapest closed path through [positions, across]: its position at each place."""
    total = _began(costs[None])
    totals = [total]
    for column in range(1, costs.shape[1]):
        total = _stepped(total) + costs[None, None, :, column]
        totals.append(total)
    closed = _ended(total)[0]
    start, position = np.unravel_index(int(np.argmin(closed)), closed.shape)
    path = [int(position)]
    for before in totals[-2::-1]:
        low = max(path[-1] - 1, 0)
        path.append(low + int(np.argmin(before[0, start, low : path[-1] + 2])))
    return np.array(path[::-1])


def _began(costs: Floats) -> Floats:
    """[N, starts, positions]: the cost of each start, which is one position only."""
    positions = costs.shape[1]
    total = np.full((len(costs), positions, positions), np.inf)
    every = np.arange(positions)
    total[:, every, every] = costs[:, :, 0]
    return total


def _stepped(total: Floats) -> Floats:
    """The least of a position and its two neighbours."""
    least = total.copy()
    np.minimum(least[..., 1:], total[..., :-1], out=least[..., 1:])
    np.minimum(least[..., :-1], total[..., 1:], out=least[..., :-1])
    return least


def _ended(total: Floats) -> Floats:
    """The same without the paths that do not end where they began, give or take one."""
    every = np.arange(total.shape[-1])
    return np.where(np.abs(every[:, None] - every) <= 1, total, np.inf)


def _step_at(window: Bytes, *paths: Ints) -> float:
    """The mean step across paths, of 255; a path's position is the first line behind it."""
    seen, across = shown(window), np.arange(window.shape[1])
    steps = [np.abs(seen[path, across] - seen[path - 1, across]).mean() for path in paths]
    return float(np.mean(steps))
