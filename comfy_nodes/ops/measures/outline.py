"""Measures of a cut-out sprite's shape: its outline, stray pixels, pieces and holes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..arrays import Flags, Floats
from ..color import oklab
from .subject import AROUND, Subject

# Fewer pixels than this, of the border and inside, show no outline.
_SHORTEST, _SMALLEST = 24, 8
# OKLab lightness, by which what lies inside is lighter than an outline at least, and by which a
# pixel of the border is lighter than the outline's middle one where it is none of it.
_CONTRAST, _LIGHTER = 0.2, 0.2
# Share of the border from which on a dark border is an outline.
_OUTLINED, _ORPHANS_OUTLINED = 0.7, 0.8
# OKLab; a pixel shows the inside where it is this near to it, and stands out where it is farther
# than this from all of its neighbours.
_SHOWS, _STANDS_OUT = 0.06, 0.16
# Visible neighbours, of eight, that a pixel on the outside of an outline has at most.
_STUCK_ON = 4
# Share of the visible pixels from which on the largest piece is the whole sprite, and pixels; what
# falls into many pieces, as sparks and smoke do, has single pixels, too.
_WHOLE, _PIXELS = 0.95, 32
# px; a hole of so few is no part of a shape.
_PINHOLE = 2


def outline(subject: Subject) -> float | None:
    """Share of an outlined sprite's border through which the inside does not show, 0 to 1."""
    lighter = _lighter_than_outline(subject, _OUTLINED)
    if lighter is None:
        return None
    inside = subject.visible & ~subject.border
    shows = _distance_to_neighbours(subject, inside) <= _SHOWS
    return float(1 - (lighter & shows).sum() / subject.border.sum())


def orphans(subject: Subject) -> float | None:
    """How many light pixels of another colour than all around them are stuck on an outline."""
    found = orphan_pixels(subject)
    return None if found is None else float(found.sum())


def orphan_pixels(subject: Subject) -> Flags | None:
    """Which pixels those are, [H, W]; None where there is no outline.

    They are lighter than all around: between the shades of outline and inside a corner is rounded.
    """
    lighter = _lighter_than_outline(subject, _ORPHANS_OUTLINED)
    if lighter is None:
        return None
    light = np.where(subject.visible, subject.lightness, -1.0)
    others = AROUND.copy()
    others[1, 1] = False
    lightest = light > ndimage.maximum_filter(light, footprint=others, mode="constant", cval=-1.0)
    alone = lightest & (_distance_to_neighbours(subject, subject.visible) > _STANDS_OUT)
    around = ndimage.convolve(
        subject.visible.astype(np.int8), AROUND.astype(np.int8), mode="constant"
    )
    stuck_on = (around > 1) & (around - 1 <= _STUCK_ON)
    found: Flags = lighter & alone & stuck_on
    return found


def specks(subject: Subject) -> float | None:
    """How many single pixels lie beside a sprite of one piece."""
    found = speck_pixels(subject)
    return None if found is None else float(found.sum())


def speck_pixels(subject: Subject) -> Flags | None:
    """Which pixels those are, [H, W]; None where the sprite is small, or of many pieces."""
    pieces = _pieces(subject)
    if pieces is None:
        return None
    labels, sizes = pieces
    if sizes.sum() < _PIXELS or sizes.max() < _WHOLE * sizes.sum():
        return None
    found: Flags = (sizes == 1)[labels]
    return found


def largest_piece(subject: Subject) -> float | None:
    """Share of the visible pixels that are of the largest piece, 0 to 1."""
    pieces = _pieces(subject)
    return None if pieces is None else float(pieces[1].max() / pieces[1].sum())


def pinholes(subject: Subject) -> float | None:
    """Share of a sprite that is holes of one or two pixels, 0 to 1."""
    found = pinhole_pixels(subject)
    if found is None:
        return None
    holes = found.sum()
    return float(holes / (holes + subject.visible.sum()))


def pinhole_pixels(subject: Subject) -> Flags | None:
    """Which pixels are such holes, [H, W]; None where nothing is cut out."""
    if not subject.is_cut_out:
        return None
    labels, count = ndimage.label(np.pad(~subject.visible, 1, constant_values=True))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    small = sizes <= _PINHOLE
    small[[0, labels[0, 0]]] = False
    found: Flags = small[labels[1:-1, 1:-1]]
    return found


def _pieces(subject: Subject) -> tuple[NDArray[np.int32], NDArray[np.int64]] | None:
    """Numbers of the sprite's pieces, [H, W], 0 where nothing is, and how many pixels each has.

    The pixels of a piece touch at an edge or a corner. None where nothing is cut out.
    """
    if not subject.is_cut_out:
        return None
    labels, _ = ndimage.label(subject.visible, AROUND)
    sizes = np.bincount(labels.ravel()).astype(np.int64)
    sizes[0] = 0
    return labels, sizes


def _lighter_than_outline(subject: Subject, share: float) -> Flags | None:
    """The pixels of the border that are no part of the dark outline; None where there is none."""
    if not subject.is_cut_out:
        return None
    border = subject.border
    inside = subject.visible & ~border
    if border.sum() < _SHORTEST or inside.sum() < _SMALLEST:
        return None
    light = subject.lightness
    middle = float(np.median(light[border]))
    if np.median(light[inside]) - middle < _CONTRAST:
        return None
    lighter: Flags = border & (light > middle + _LIGHTER)
    return lighter if lighter.sum() <= (1 - share) * border.sum() else None


def _distance_to_neighbours(subject: Subject, counted: Flags) -> Floats:
    """[H, W]: of each pixel of the border, the OKLab distance of the nearest of the eight counted.

    Of the others, and where none is counted, it is infinite.
    """
    rows, columns = np.nonzero(subject.border)
    own = oklab(subject.rgb[rows, columns])
    height, width = counted.shape
    least = np.full(len(rows), np.inf)
    for down in (-1, 0, 1):
        for across in (-1, 0, 1):
            if not (down or across):
                continue
            y, x = rows + down, columns + across
            there = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
            there &= counted[y, x]
            distance = np.sqrt(((own - oklab(subject.rgb[y, x])) ** 2).sum(axis=1))
            least = np.minimum(least, np.where(there, distance, np.inf))
    result = np.full(counted.shape, np.inf)
    result[rows, columns] = least
    return result
