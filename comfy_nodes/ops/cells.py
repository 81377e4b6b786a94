"""One colour for each cell of a lattice.

A cell is sampled at up to 5 x 5 places of its inner half (its core), where neither anti-aliasing
nor a border that is a little off brings in the neighbour's colour.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import NDArray

from .arrays import Bytes
from .lattice import Axis, Lattice

# From this alpha on a sample is of the sprite, below it of what is behind.
_OPAQUE = 128
_ROUNDS = 4
# Where in a cell its parts are compared, and levels from which on they differ clearly.
_QUARTERS, _CLEARLY = (0.35, 0.65), 40
_ABOVE = 256  # sorts behind every value


class Colour(str, Enum):
    """Which colour a cell gets."""

    MEDIAN = "median"  # the median of each channel
    MODE = "mode"  # the median of the most common shade, a cube of 8 levels a channel
    K_CENTROID = "k-centroid"  # the mean of the larger of two clusters (Astropulse's K-Centroid)


def colours(picture: Bytes, lattice: Lattice, colour: Colour) -> Bytes:
    """uint8 [h, w, C]: the cells of a picture, uint8 [H, W, C]."""
    core = (0.1, 0.8) if colour is Colour.K_CENTROID else (0.25, 0.5)
    rows = _places(lattice.y, picture.shape[0], core)
    columns = _places(lattice.x, picture.shape[1], core)
    taken = picture[rows.ravel()][:, columns.ravel()]
    height, width, channels = len(rows), len(columns), picture.shape[2]
    samples = (
        taken.reshape(height, rows.shape[1], width, columns.shape[1], channels)
        .transpose(0, 2, 1, 3, 4)
        .reshape(height * width, -1, channels)
    )
    if channels == 4:
        return _with_alpha(samples, colour).reshape(height, width, 4)
    return _chosen(samples, None, colour).reshape(height, width, 3)


def split(picture: Bytes, lattice: Lattice) -> float:
    """How many of the cells that differ from a neighbour show two colours, as a part of them.

    Such a cell has two halves inside that differ along all of its length, which is what cells of
    twice the true size have. uint8 [H, W, C].
    """
    rows = _parts(lattice.y, picture.shape[0], _QUARTERS)
    columns = _parts(lattice.x, picture.shape[1], _QUARTERS)
    taken = picture[rows.ravel()][:, columns.ravel()].astype(np.int16)
    quarters = taken.reshape(len(rows), 2, len(columns), 2, -1)
    across = np.abs(quarters[:, :, :, 0] - quarters[:, :, :, 1]).max(axis=-1).min(axis=1)
    down = np.abs(quarters[:, 0] - quarters[:, 1]).max(axis=-1).min(axis=-1)
    apart = np.maximum(across, down) > _CLEARLY
    means = quarters.mean(axis=(1, 3))
    busy = np.zeros(apart.shape, dtype=bool)
    for axis in (0, 1):
        steps = np.abs(np.diff(means, axis=axis)).max(axis=-1) > _CLEARLY
        ahead, behind = [(0, 0), (0, 0)], [(0, 0), (0, 0)]
        ahead[axis], behind[axis] = (0, 1), (1, 0)
        busy |= np.pad(steps, ahead) | np.pad(steps, behind)
    return float((apart & busy).sum() / max(1, busy.sum()))


def _places(axis: Axis, length: int, core: tuple[float, float]) -> NDArray[np.int64]:
    """[cells, samples]: the pixels where each cell is sampled, in its core, within the picture."""
    count = 1 if axis.pitch < 4 else 3 if axis.pitch < 7 else 5
    return _parts(axis, length, core[0] + core[1] * (np.arange(count) + 0.5) / count)


def _parts(
    axis: Axis, length: int, parts: NDArray[np.float64] | tuple[float, ...]
) -> NDArray[np.int64]:
    """[cells, parts]: the pixels at these parts of each cell, within the picture."""
    low = np.clip(axis.borders[:-1], 0, length - 1)
    high = np.clip(axis.borders[1:], low + 1, length)
    places = low[:, None] + (high - low)[:, None] * np.asarray(parts)[None, :]
    return np.clip(np.floor(places), 0, length - 1).astype(np.int64)


def _with_alpha(samples: Bytes, colour: Colour) -> Bytes:
    """Alpha by its median; the colour of an opaque cell of its opaque samples alone."""
    alpha: Bytes = _median(samples[..., 3:], None).reshape(-1)
    opaque = samples[..., 3] >= _OPAQUE
    counted = np.where((alpha >= _OPAQUE)[:, None], opaque, True)
    chosen = _chosen(samples[..., :3], counted, colour)
    # What nobody sees is no colour of the sprite.
    chosen[alpha == 0] = 0
    return np.concatenate([chosen, alpha[:, None]], axis=1)


def _chosen(samples: Bytes, counted: NDArray[np.bool_] | None, colour: Colour) -> Bytes:
    """[n, C] of samples [n, s, C], of which those `counted` [n, s] count."""
    if samples.shape[1] == 1:
        return samples[:, 0].copy()
    if colour is Colour.MODE:
        return _median(samples, _commonest(samples, counted))
    if colour is Colour.K_CENTROID:
        return _larger_cluster(samples, counted)
    return _median(samples, counted)


def _median(samples: Bytes, counted: NDArray[np.bool_] | None) -> Bytes:
    """The lower median of each channel."""
    if counted is None:
        middle = (samples.shape[1] - 1) // 2
        median: Bytes = np.partition(samples, middle, axis=1)[:, middle]
        return median
    values = np.where(counted[..., None], samples, np.int16(_ABOVE))
    values.sort(axis=1)
    at = (np.maximum(counted.sum(axis=1), 1) - 1) // 2
    return values[np.arange(len(values)), at].astype(np.uint8)


def _commonest(samples: Bytes, counted: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """[n, s]: the samples of the commonest shade; of two that are as common, both."""
    shades: NDArray[np.int32] = np.zeros(samples.shape[:2], dtype=np.int32)
    for channel in range(samples.shape[2]):
        shades = shades * 32 + (samples[..., channel] >> 3)
    if counted is not None:
        shades[~counted] = -1
    alike = np.zeros(shades.shape, dtype=np.int16)
    for other in range(shades.shape[1]):
        alike += shades == shades[:, other : other + 1]
    alike[shades < 0] = 0
    most: NDArray[np.bool_] = alike == alike.max(axis=1, keepdims=True)
    return most


def _larger_cluster(samples: Bytes, counted: NDArray[np.bool_] | None) -> Bytes:
    """k-means of two clusters from the darkest and the lightest sample; the larger one's mean."""
    values = samples.astype(np.float64)
    weights = np.ones(samples.shape[:2]) if counted is None else counted.astype(np.float64)
    light = np.where(weights > 0, values.sum(axis=2), np.nan)
    cells = np.arange(len(values))
    low = values[cells, np.nanargmin(light, axis=1)]
    high = values[cells, np.nanargmax(light, axis=1)]
    for _ in range(_ROUNDS):
        to_low = ((values - low[:, None]) ** 2).sum(axis=2)
        to_high = ((values - high[:, None]) ** 2).sum(axis=2)
        in_low = weights * (to_low <= to_high)
        in_high = weights - in_low
        low = _mean(values, in_low, low)
        high = _mean(values, in_high, high)
    larger = (in_low.sum(axis=1) >= in_high.sum(axis=1))[:, None]
    return np.rint(np.where(larger, low, high)).astype(np.uint8)


def _mean(
    values: NDArray[np.float64], weights: NDArray[np.float64], none: NDArray[np.float64]
) -> NDArray[np.float64]:
    total = weights.sum(axis=1)[:, None]
    mean = (values * weights[..., None]).sum(axis=1) / np.maximum(total, 1)
    return np.where(total > 0, mean, none)
