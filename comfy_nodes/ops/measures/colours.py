"""Measures of size and colours."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from ..color import oklab, pack
from .subject import Subject

# of 255, by which two pixels may differ and still look the same
_ALIKE = 8
# Side of a cube in OKLab whose colours one takes for the same at a glance; 0.02 is about what an
# eye can just tell apart side by side (B. Ottosson, 2020: a unit of CIE's delta E is near 0.01).
_SHADE = 0.04
# Fewer pixels than this have too few colours to speak of too many.
_FEW = 64


def width(subject: Subject) -> float:
    """px."""
    return float(subject.picture.shape[1])


def height(subject: Subject) -> float:
    """px."""
    return float(subject.picture.shape[0])


def colours(subject: Subject) -> float:
    """How many there are among the visible pixels."""
    return float(len(subject.tally[0]))


def colours_per_shade(subject: Subject) -> float | None:
    """How many colours there are for each that is told apart at a glance."""
    packed, counts = subject.tally
    if counts.sum() < _FEW:
        return None
    cubes = np.floor(subject.tally_lab / _SHADE + 0.5).astype(np.int64) + 64
    return len(packed) / len(np.unique(cubes[:, 0] << 16 | cubes[:, 1] << 8 | cubes[:, 2]))


def blank(subject: Subject) -> float:
    """Share of pixels that look like the median pixel."""
    # Pixels that are not there look the same, whatever colour they hide.
    color = np.concatenate([subject.rgb, subject.alpha[..., None]], axis=-1).astype(np.int16)
    color[~subject.visible] = 0
    middle = np.median(color.reshape(-1, 4), axis=0)
    return float((np.abs(color - middle) <= _ALIKE).all(axis=-1).mean())


def in_palette(subject: Subject) -> float | None:
    """Share of the visible pixels that have a colour of the palette."""
    packed, counts = subject.tally
    if subject.asked.palette is None or not len(packed):
        return None
    there = np.isin(packed, pack(subject.asked.palette))
    return float(counts[there].sum() / counts.sum())


def palette_distance(subject: Subject) -> float | None:
    """Mean distance of the visible pixels from the palette's nearest colours, in OKLab."""
    packed, counts = subject.tally
    if subject.asked.palette is None or not len(packed):
        return None
    distance = cKDTree(oklab(subject.asked.palette)).query(subject.tally_lab)[0]
    return float((distance * counts).sum() / counts.sum())
