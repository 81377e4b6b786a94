"""The lattice of fake pixels in a picture: the pitch of each axis, and where every border is.

Pictures are uint8 [H, W, C] with C 3 (RGB) or 4 (RGBA). A border's position is in px from the
left or the top: 3.0 is between the third and the fourth pixel. Nothing here draws by chance or
depends on the number of threads: sums are of integers, or of short arrays in a fixed order.

How it is found, on each axis by itself:

1. *Edges.* How much neighbouring pixels differ, small differences (noise) taken off and large ones
   capped, summed over the lines: every border that some line shows becomes a peak, placed by its
   centroid, which tells anti-aliased borders to a fraction of a pixel.
2. *One dynamic programme for all pitches* over the peaks. From one peak to the next there is a
   whole number of cells. What it costs is minus the log of how likely that is, in nats: widths
   that deviate from the pitch (normal, either rigid or as a drift in which neighbours are alike:
   an autoregressive process of first order), borders that no line shows, peaks that no border
   explains. So half the pitch pays for its empty borders, and twice the pitch for its peaks.
3. *Both axes together*: pixels are mostly square, and a picture mostly shows whole cells.

The margin, in nats, over the best answer with another size is what the confidence stands on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .arrays import Bytes, Floats, Ints
from .costs import (
    DRIFT,
    GAIN,
    LONGEST,
    MARGIN_CELL,
    REGIMES,
    RIGID,
    UNEXPLAINED,
    UNLIKE,
    cut_cell,
    missed,
    together,
    unseen,
)

SMALLEST = 2.2
"""Pitches from here on are searched, in px; exact blocks of 2 px are found without a search."""
LARGEST = 256.0
"""Largest pitch that is searched, in px."""

# -------------------------------------------------------------------------------- edges
# A difference counts from three times the median one on, and at least from this on; levels of all
# channels together.
_FLOOR = 6
# Larger differences count no more than this: an outline must not outvote ten soft borders.
_CAP = 96
# Peaks that are taken, strongest first: more than the cells of any sprite, and bounded work.
_MOST_PEAKS = 320
# A peak counts in full from so many lines on, or, where there is noise, from so many times the
# median column on.
_LINES, _OVER_NOISE = 4.0, 60.0
# A peak that is weaker than this part of a full one is left out.
_WEAKEST = 0.04
# JPEG draws borders every 8 px. They are taken off, up to this part of a strong peak.
_JPEG, _JPEG_MOST = 8, 0.15

# ------------------------------------------------------------------------------- search
_NEAR = 24  # peaks that may lie, unexplained, between two borders that are seen
# Steps of the pitch: of the first look, and of the second around what it found.
_COARSE, _FINE, _AROUND, _FOUND = 0.02, 0.004, 0.08, 3
# A minimum that is so many nats above the lowest gets no second look.
_HOPELESS = 40.0


@dataclass(frozen=True)
class Edges:
    """Where the lines across an axis show borders: positions in px, and how clearly (0 to 1)."""

    places: Floats
    weights: Floats
    length: int


@dataclass(frozen=True)
class Axis:
    """The borders of the cells along one axis, n + 1 of n cells, in px.

    The first may be left of the picture and the last right of it, where the edge cuts a cell.
    """

    pitch: float
    borders: Floats

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return len(self.borders) - 1

    @property
    def offset(self) -> float:
        """The first border that is in the picture, at its edge or right of it, in px."""
        inside = self.borders[self.borders > -0.25]
        return max(0.0, float(inside[0])) if len(inside) else 0.0


@dataclass(frozen=True)
class Lattice:
    """What was found: both axes, and how much better it is than any other size.

    `margin` is in nats, `drifts` says that the cells vary in width, and `seen` is the part of the
    borders that some line shows.
    """

    x: Axis
    y: Axis
    margin: float
    drifts: bool
    seen: float


def planes(picture: Bytes) -> Bytes:
    """uint8 [C, H, W]: the channels, those of RGBA times alpha, and alpha where it says something.

    What is transparent shows no edges, whatever colour lies under it.
    """
    if picture.shape[2] == 3:
        return np.ascontiguousarray(picture.transpose(2, 0, 1))
    alpha = picture[..., 3]
    if (alpha == 255).all():
        return planes(picture[..., :3])
    seen = (picture[..., :3].astype(np.uint16) * alpha[..., None] + 127) // 255
    full = np.concatenate([seen.astype(np.uint8), alpha[..., None]], axis=2)
    return np.ascontiguousarray(full.transpose(2, 0, 1))


def differences(channels: Bytes) -> NDArray[np.uint16]:
    """uint16 [H, W - 1]: by how much each pixel differs from its right neighbour, all channels."""
    left, right = channels[:, :, :-1], channels[:, :, 1:]
    apart: NDArray[np.uint16] = (np.maximum(left, right) - np.minimum(left, right)).sum(
        axis=0, dtype=np.uint16
    )
    return apart


def edges(channels: Bytes) -> Edges:
    """The edges along the last axis of uint8 [C, H, W]."""
    length = channels.shape[2]
    none = Edges(np.zeros(0), np.zeros(0), length)
    if length < 2:
        return none
    apart = differences(channels)
    noise = int(np.median(apart[::2, ::2]))
    floor = 3 * noise + _FLOOR
    counted = np.minimum(np.maximum(apart, floor) - np.uint16(floor), _CAP)
    profile = counted.sum(axis=0, dtype=np.int64) / _CAP
    places, masses = _peaks(profile)
    if not len(places):
        return none
    if noise:
        masses = _without_jpeg(profile, places, masses)
    full = min(0.7 * _strong(masses), max(_LINES, _OVER_NOISE * float(np.median(profile))))
    weights = np.minimum(masses / max(full, 1e-9), 1.0)
    kept = weights > _WEAKEST
    if int(kept.sum()) > _MOST_PEAKS:
        kept &= masses >= np.sort(masses)[-_MOST_PEAKS]
    return Edges(places[kept], weights[kept], length)


def _peaks(profile: Floats) -> tuple[Floats, Floats]:
    """Local maxima: centroids in px, and the mass of each with its two neighbours."""
    padded = np.concatenate([[0.0], profile, [0.0]])
    before, here, after = padded[:-2], padded[1:-1], padded[2:]
    at = np.flatnonzero((here > 0) & (here >= before) & (here > after))
    masses = before[at] + here[at] + after[at]
    return at + 1 + (after[at] - before[at]) / masses, masses


def _strong(masses: Floats) -> float:
    """A mass such that half of all mass is in peaks as strong as that."""
    falling = np.sort(masses)[::-1]
    return float(falling[np.searchsorted(falling.cumsum(), 0.5 * falling.sum())])


def _without_jpeg(profile: Floats, places: Floats, masses: Floats) -> Floats:
    """The masses without what JPEG's blocks add: most of those 8 px apart have that at least."""
    blocks = profile[_JPEG - 1 :: _JPEG]
    if len(blocks) < 4:
        return masses
    added = min(1.5 * float(np.quantile(blocks, 0.25)), _JPEG_MOST * _strong(masses))
    on_blocks = np.abs(places - np.rint(places / _JPEG) * _JPEG) < 0.4
    return np.where(on_blocks, np.maximum(masses - added, 0.0), masses)


# ------------------------------------------------------------------- the dynamic programme


@dataclass(frozen=True)
class _Ways:
    """The best way through the peaks of one axis, for each of P (pitch, regime): arrays [P]."""

    pitches: Floats
    regimes: Ints
    costs: Floats
    cells: Ints
    whole: NDArray[np.bool_]
    last: Ints
    back: Ints  # [K, P]: the peak before, -1 where it is the first
    steps: Ints  # [K, P]: cells since the peak before, or since the picture's edge
    ends: Ints  # [P]: cells behind the last peak


def _ways(found: Edges, pitches: Floats, regimes: Ints) -> _Ways:
    """The cheapest assignment of borders to peaks for every pitch in its regime."""
    places, weights = found.places, found.weights
    if not len(places):
        # Nothing is seen: one weak peak in the middle keeps the code below free of exceptions.
        places, weights = np.array([found.length / 2]), np.array([0.01])
    count, wide = len(places), len(pitches)
    pitch, regime = pitches[None, :], regimes[None, :]
    passed = np.concatenate([[0.0], np.cumsum(weights)])
    columns = np.arange(wide)

    def gap(distance: Floats, deviation: Floats | None) -> tuple[Ints, Floats]:
        """Cells in a distance between two borders, and what that costs."""
        expected = distance / pitch
        if deviation is not None:
            expected = expected - 0.5 * deviation / pitch
        cells = np.maximum(1, np.rint(expected)).astype(np.int64)
        farther = distance - cells * pitch
        if deviation is not None:
            farther = farther - deviation * GAIN[regime, np.minimum(cells, LONGEST)]
        return cells, missed(farther, cells, pitch, regime)

    cut = cut_cell(pitch)

    def end(distance: Floats, deviation: Floats | None) -> tuple[Ints, Floats, NDArray[np.bool_]]:
        """The same up to the picture's edge, which may cut a cell; and whether it does not."""
        cells, cost = gap(distance, deviation)
        whole = cost <= cut
        cells = np.where(
            whole, cells, np.maximum(1, np.ceil(distance / pitch - 0.05)).astype(np.int64)
        )
        return cells, np.where(whole, cost, cut) + MARGIN_CELL * cells, whole

    first, first_cost, first_whole = end(places[:, None], None)
    least = np.empty((count, wide))
    back = np.full((count, wide), -1)
    steps = np.empty((count, wide), dtype=np.int64)
    cells = np.empty((count, wide), dtype=np.int64)
    deviation = np.zeros((count, wide))
    whole = np.zeros((count, wide), dtype=bool)
    for j in range(count):
        least[j] = first_cost[j] + UNEXPLAINED * passed[j]
        steps[j] = cells[j] = first[j]
        whole[j] = first_whole[j]
        if not j:
            continue
        low = max(0, j - _NEAR)
        distance = (places[j] - places[low:j])[:, None]
        several, cost = gap(distance, deviation[low:j])
        cost += least[low:j] + unseen(several)
        cost += UNEXPLAINED * (passed[j] - passed[low + 1 : j + 1])[:, None]
        best = cost.argmin(axis=0)
        cheaper = cost[best, columns] < least[j]
        before, taken = low + best, several[best, columns]
        least[j] = np.where(cheaper, cost[best, columns], least[j])
        back[j] = np.where(cheaper, before, -1)
        steps[j] = np.where(cheaper, taken, steps[j])
        cells[j] = np.where(cheaper, cells[before, columns] + taken, cells[j])
        whole[j] = np.where(cheaper, whole[before, columns], whole[j])
        width = distance[best, 0] / taken - pitches
        deviation[j] = np.where(cheaper, np.clip(width, -0.3 * pitches, 0.3 * pitches), 0.0)
    last_cells, last_cost, last_whole = end((found.length - places)[:, None], deviation)
    total = least + last_cost + UNEXPLAINED * (passed[count] - passed[1:])[:, None]
    last = total.argmin(axis=0)
    return _Ways(
        pitches=pitches,
        regimes=regimes,
        costs=total[last, columns],
        cells=(cells + last_cells)[last, columns],
        whole=(whole & last_whole)[last, columns],
        last=last,
        back=back,
        steps=steps,
        ends=last_cells[last, columns],
    )


def _borders(found: Edges, ways: _Ways, way: int) -> tuple[Axis, int]:
    """The borders of one way, and how many of them are seen; unseen ones are evenly spaced."""
    chain = [int(ways.last[way])]
    while ways.back[chain[-1], way] >= 0:
        chain.append(int(ways.back[chain[-1], way]))
    chain.reverse()
    pitch = float(ways.pitches[way])
    steps = ways.steps[chain, way]
    indices = np.cumsum(steps)
    cells = int(indices[-1] + ways.ends[way])
    whole = bool(ways.whole[way])
    if not len(found.places):
        return even(found.length, max(1, round(found.length / pitch))), 0
    anchors = found.places[chain]
    if ways.regimes[way] == RIGID and len(chain) > 2:
        slope, start = _line(indices, anchors, found.weights[chain])
        if abs(slope / pitch - 1) < 0.05:
            pitch = slope
            anchors = (start + slope * indices).astype(np.float64)
    known: Floats = indices.astype(np.float64)
    places: Floats = anchors
    left = places[0] - pitch * indices[0]
    right = places[-1] + pitch * (cells - indices[-1])
    if whole:
        left, right = 0.0, float(found.length)
        pitch = found.length / cells
    known = np.concatenate([[0.0], known, [float(cells)]])
    places = np.concatenate([[left], places, [right]])
    borders = np.interp(np.arange(cells + 1), known, places)
    return Axis(pitch, borders), len(chain)


def _line(indices: Ints, places: Floats, weights: Floats) -> tuple[float, float]:
    """Weighted least squares of places = start + slope * indices: slope and start."""
    total = weights.sum()
    middle, place = (weights * indices).sum() / total, (weights * places).sum() / total
    apart = indices - middle
    slope = (weights * apart * (places - place)).sum() / (weights * apart * apart).sum()
    return float(slope), float(place - slope * middle)


def even(length: int, cells: int) -> Axis:
    """Cells of one width over the whole length."""
    return Axis(length / cells, np.linspace(0.0, length, cells + 1))


# ------------------------------------------------------------------------------ both axes


def search(
    frames: Sequence[tuple[Edges, Edges]],
    size: tuple[int | None, int | None] = (None, None),
    pitch: tuple[float, float] | None = None,
) -> list[Lattice] | None:
    """One pitch for all frames, and the lattice of each with it; None where there is no grid.

    Frames are the edges on x and y, of pictures of one size. `size` in cells and `pitch` in px may
    be known.
    """
    axes = [[frame[axis] for frame in frames] for axis in (0, 1)]
    if pitch is not None:
        tried = [np.array([pitch[axis]]) for axis in (0, 1)]
    else:
        tried = _tried(axes, size)
    ways = [_all_ways(axes[axis], tried[axis]) for axis in (0, 1)]
    costs = [np.sum([way.costs for way in several], axis=0) for several in ways]
    for axis in (0, 1):
        if size[axis] is not None:
            other = np.max([way.cells != size[axis] for way in ways[axis]], axis=0)
            costs[axis] = np.where(other, costs[axis] + 1e6, costs[axis])
    total = costs[0][:, None] + costs[1][None, :] + _together(axes, ways)
    best = int(total.argmin())
    i, j = divmod(best, total.shape[1])
    nothing = UNEXPLAINED * sum(float(edge.weights.sum()) for frame in frames for edge in frame)
    known = pitch is not None or size != (None, None)
    if not known and total[i, j] > nothing:
        return None
    counted = (ways[0][0].cells, ways[1][0].cells)
    same = (counted[0] == counted[0][i])[:, None] & (counted[1] == counted[1][j])[None, :]
    margin = float(np.where(same, np.inf, total).min() - total[i, j])
    found = []
    for number, frame in enumerate(frames):
        x, seen_x = _given_or(frame[0], ways[0][number], i, size[0])
        y, seen_y = _given_or(frame[1], ways[1][number], j, size[1])
        drifts = bool(ways[0][0].regimes[i] == DRIFT or ways[1][0].regimes[j] == DRIFT)
        seen = (seen_x + seen_y) / max(1, x.cells + y.cells - 2)
        found.append(Lattice(x, y, min(margin, 1e3), drifts, seen))
    return found


def _given_or(found: Edges, ways: _Ways, way: int, cells: int | None) -> tuple[Axis, int]:
    axis, seen = _borders(found, ways, way)
    if cells is not None and axis.cells != cells:
        return even(found.length, cells), 0
    return axis, seen


def _tried(axes: list[list[Edges]], size: tuple[int | None, int | None]) -> list[Floats]:
    """The pitches worth a second look, for each axis: those near a minimum of a first look."""
    lengths = [several[0].length for several in axes]
    centres: set[float] = set()
    for axis in (0, 1):
        cells = size[axis]
        if cells is not None:
            centres.add(lengths[axis] / cells)
    if not centres:
        looks = []
        for axis in (0, 1):
            if lengths[axis] < 7:
                continue
            high = min(LARGEST, lengths[axis] / 3)
            pitches = np.exp(np.arange(np.log(SMALLEST), np.log(max(high, 2.4)), _COARSE))
            drifting = np.full(len(pitches), DRIFT)
            costs = np.sum([_ways(one, pitches, drifting).costs for one in axes[axis]], axis=0)
            looks.append((pitches, costs))
        shared = min(len(pitches) for pitches, _ in looks)
        both = np.sum([costs[:shared] for _, costs in looks], axis=0)
        for pitches, costs in (*looks, (looks[0][0], both)):
            centres.update(float(pitches[at]) for at in _minima(costs))
    # on one grid of pitches, so that no two are nearly the same
    steps = np.log(np.array(sorted(centres)))[:, None] + np.arange(-_AROUND, _AROUND + 1e-4, _FINE)
    fine = np.exp(np.unique(np.rint(steps / _FINE)) * _FINE)
    exact = [lengths[axis] / n for axis, n in enumerate(size) if n is not None]
    fine = np.unique(np.concatenate([fine[fine > 1.2], np.array(exact, dtype=float)]))
    return [fine, fine]


def _minima(costs: Floats) -> list[int]:
    """The lowest few of the local minima."""
    high = costs.min() + _HOPELESS
    local = [
        at
        for at in range(len(costs))
        if costs[at] == costs[max(0, at - 2) : at + 3].min() and costs[at] <= high
    ]
    return sorted(local, key=lambda at: (costs[at], at))[:_FOUND]


def _all_ways(several: list[Edges], pitches: Floats) -> list[_Ways]:
    regimes = np.repeat(np.arange(len(REGIMES)), len(pitches))
    tiled = np.tile(pitches, len(REGIMES))
    return [_ways(one, tiled, regimes) for one in several]


def _together(axes: list[list[Edges]], ways: list[list[_Ways]]) -> Floats:
    """What each pair of ways costs as a pair: [P, P] nats."""
    x, y = ways[0][0], ways[1][0]
    lengths = axes[0][0].length, axes[1][0].length
    widths = [
        np.where(way.whole, length / way.cells, way.pitches)
        for way, length in zip((x, y), lengths, strict=True)
    ]
    cost = together((widths[0], widths[1]), (x.whole, y.whole), (x.cells, y.cells), lengths)
    cost += UNLIKE * (x.regimes[:, None] != y.regimes[None, :])
    return cost
