"""Matching the colours of a repainted part to what is around it.

Pictures are float [H, W, C], flags bool [H, W].
"""

from __future__ import annotations

from enum import Enum

import numpy as np
from scipy import ndimage

from .arrays import Flags, Floats

# px around the mask from which the mean difference is taken.
_RING = 4
# A level of the pyramid with fewer px than this a side is solved at once.
_COARSEST = 8
# Sweeps on each level; a level starts from the coarser one's solution, so that only what is short
# is left to be smoothed.
_SWEEPS = 24


class Match(str, Enum):
    """How the painted colours are brought to those around the mask.

    mean: one shift for all, the mean difference around the mask. seam: a shift for each pixel that
    meets the difference at every place of the seam and is as smooth as can be between (the membrane
    of P. Perez, M. Gangnet, A. Blake, Poisson Image Editing, 2003).
    """

    OFF = "off"
    MEAN = "mean"
    SEAM = "seam"


def matched(old: Floats, new: Floats, inside: Flags, match: Match) -> Floats:
    """`new` shifted within the mask so that it fits `old` outside; both show all of the picture.

    A mask without anything around it leaves `new` as it is.
    """
    if match is Match.OFF or inside.all() or not inside.any():
        return new
    apart = old - new
    if match is Match.MEAN:
        ring = ndimage.binary_dilation(inside, np.ones((3, 3), bool), iterations=_RING) & ~inside
        shift = np.broadcast_to(apart[ring].mean(axis=0), new.shape)
    else:
        shift = membrane(apart, ~inside)
    return np.where(inside[..., None], new + shift, new)


def membrane(values: Floats, known: Flags) -> Floats:
    """The values where they are known, and harmonic between: each the mean of its four neighbours.

    At least one is known. Solved from coarse to fine (a cascadic multigrid with Jacobi's sweeps);
    the picture's edge lets nothing through.
    """
    filled = np.where(known[..., None], values, 0.0)
    if known.all():
        return filled
    height, width = known.shape
    if min(height, width) > _COARSEST:
        weights = _halved(known[..., None].astype(np.float64))
        means = _halved(filled) / np.maximum(weights, 1e-9)
        coarse = membrane(means, weights[..., 0] > 0)
        filled = np.where(known[..., None], values, _doubled(coarse, height, width))
        sweeps = _SWEEPS
    else:
        filled = np.where(known[..., None], values, values[known].mean(axis=0))
        sweeps = 4 * height * width
        sweeps = min(sweeps, 16 * _SWEEPS)
    return _relaxed(filled, values, known, sweeps)


def _relaxed(start: Floats, values: Floats, known: Flags, sweeps: int) -> Floats:
    """After so many of Jacobi's sweeps."""
    current = start
    for _ in range(sweeps):
        padded = np.pad(current, ((1, 1), (1, 1), (0, 0)), mode="edge")
        mean = padded[:-2, 1:-1] + padded[2:, 1:-1]
        mean += padded[1:-1, :-2]
        mean += padded[1:-1, 2:]
        mean *= 0.25
        current = np.where(known[..., None], values, mean)
    return current


def _halved(planes: Floats) -> Floats:
    """Means of 2x2, of [H, W, C]; an odd last row or column counts as with zeros beside it."""
    odd = ((0, planes.shape[0] % 2), (0, planes.shape[1] % 2), (0, 0))
    padded = np.pad(planes, odd)
    height, width, channels = padded.shape
    blocks = padded.reshape(height // 2, 2, width // 2, 2, channels)
    means: Floats = (blocks[:, 0, :, 0] + blocks[:, 0, :, 1]) + (
        blocks[:, 1, :, 0] + blocks[:, 1, :, 1]
    )
    return means / 4.0


def _doubled(planes: Floats, height: int, width: int) -> Floats:
    """[ceil(height / 2), ceil(width / 2), C] at twice the size."""
    return planes.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
