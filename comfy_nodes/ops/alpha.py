"""Cutting a sprite out of its plain background. Alpha is 0 or 1, never between."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInput
from .color import Floats, oklab, pack
from .pictures import Bytes

Flags = NDArray[np.bool_]

# Two rims (see `_same_rim`) are one outline when their mean colours are this close in OKLab.
_RIM = 0.2


def cut_out(picture: Bytes, tolerance: float, smallest_hole: float) -> Flags:
    """Which pixels of a uint8 [H, W, C] picture belong to the sprite: bool [H, W].

    The background is what is within `tolerance` (OKLab distance, 0..1) of the border's colour and
    connected with the border, edge to edge. An area of that colour inside the sprite is background
    too (the hole of a ring) if it covers at least `smallest_hole` of the picture (0..1) and is
    framed by the same colour as the sprite's outside; else it is a highlight and stays.
    Raises BadInput when nothing would be left.
    """
    lab = oklab(picture[..., :3])
    alike = ((lab - border_color(picture)) ** 2).sum(axis=-1) <= tolerance**2
    areas = components(alike)
    outside = np.isin(areas, np.unique(_border(areas))) & alike
    background = outside.copy()
    sizes = np.bincount(areas[alike].ravel(), minlength=1)
    for area in np.unique(areas[alike & ~outside]):
        hole = areas == area
        if sizes[area] >= smallest_hole * alike.size and _same_rim(lab, hole, outside):
            background |= hole
    if background.all():
        raise BadInput(
            "The whole picture is within the tolerance of its border's colour, so nothing would "
            "be left: lower the tolerance, or use a picture with something on a plain background."
        )
    return ~background


def border_color(picture: Bytes) -> Floats:
    """The commonest colour on the picture's border, in OKLab; shades of it count together.

    A shade is a cube of 8 steps a channel, as a decoded background is never quite flat.
    """
    edge = _border(picture[..., :3])
    _, inverse, counts = np.unique(pack(edge >> 3), return_inverse=True, return_counts=True)
    commonest = edge[inverse.ravel() == counts.argmax()]
    return oklab(np.median(commonest, axis=0).astype(np.uint8))


def components(flags: Flags) -> NDArray[np.int64]:
    """Numbers the areas of set pixels that touch edge to edge, from 1: int64 [H, W], 0 = not set.

    Joins the runs of each row with those of the row above (Rosenfeld and Pfaltz, 1966).
    """
    starts, ends = _runs(flags)
    if len(starts) == 0:
        return np.zeros(flags.shape, dtype=np.int64)
    parent = _join(starts, ends, flags.shape[1])
    lengths = ends - starts
    labels = np.zeros(flags.size, dtype=np.int64)
    labels[flags.ravel()] = np.repeat(np.array(parent) + 1, lengths)
    return labels.reshape(flags.shape)


def _runs(flags: Flags) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and one-past-last flat index of every horizontal run, in reading order."""
    padded = np.zeros((flags.shape[0], flags.shape[1] + 1), dtype=np.int8)
    padded[:, :-1] = flags
    steps = np.diff(padded.ravel(), prepend=0)
    width = flags.shape[1]
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    # Back from the padded width to the picture's; an end may sit on the padding column.
    return starts - starts // (width + 1), ends - ends // (width + 1)


def _join(starts: NDArray[np.int64], ends: NDArray[np.int64], width: int) -> list[int]:
    """The root run of every run, joined where a run touches one straight above it."""
    parent = list(range(len(starts)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    above = 0
    for run in range(len(starts)):
        while ends[above] <= starts[run] - width:
            above += 1
        other = above
        while other < run and starts[other] < ends[run] - width:
            parent[root(run)] = root(other)
            other += 1
    return [root(run) for run in range(len(starts))]


def _border(array: NDArray[Any]) -> NDArray[Any]:
    """The pixels on the edge of the picture, [2 * W + 2 * H, ...]."""
    return np.concatenate([array[0], array[-1], array[:, 0], array[:, -1]])


def _same_rim(lab: Floats, hole: Flags, outside: Flags) -> bool:
    """Whether the colours that frame a hole are those that frame the sprite from outside."""
    taken = hole | outside
    inner, outer = lab[_grown(hole) & ~taken], lab[_grown(outside) & ~taken]
    if len(inner) == 0 or len(outer) == 0:
        return False
    difference = inner.mean(axis=0) - outer.mean(axis=0)
    return bool((difference**2).sum() <= _RIM**2)


def _grown(flags: Flags) -> Flags:
    """The set pixels and those that touch one edge to edge."""
    grown = flags.copy()
    grown[1:] |= flags[:-1]
    grown[:-1] |= flags[1:]
    grown[:, 1:] |= flags[:, :-1]
    grown[:, :-1] |= flags[:, 1:]
    return grown
