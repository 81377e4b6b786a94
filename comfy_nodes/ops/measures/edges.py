"""Measures of a cut-out: its alpha, what is left of the background, its outline, stray pixels."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ...errors import BadInput
from ..arrays import Flags
from ..cutout import CutoutOptions, cut_out
from .subject import AROUND, Subject

# OKLab; how near to the background's colour a pixel of the sprite's edge has some of it.
_FRINGE = 0.08
# OKLab; what has the background's colour.
_BACKGROUND = 0.04
# px; less of the background's colour is a highlight.
_ENCLOSED = 4
_ENCLOSED_ONLY = CutoutOptions(despill=False, smallest_part=0.0)


def drawn_width(subject: Subject) -> float:
    """px, from the first visible column to the last; 0 where nothing can be seen."""
    return _extent(subject.visible, axis=0)


def drawn_height(subject: Subject) -> float:
    """px, from the first visible row to the last; 0 where nothing can be seen."""
    return _extent(subject.visible, axis=1)


def _extent(visible: Flags, axis: int) -> float:
    found = np.flatnonzero(visible.any(axis=axis))
    return float(found[-1] - found[0] + 1) if len(found) else 0.0


def opaque(subject: Subject) -> float:
    """Share of pixels that are there."""
    return float(subject.visible.mean())


def alpha_binary(subject: Subject) -> float:
    """Share of pixels with alpha 0 or 255."""
    return float(((subject.alpha == 0) | (subject.alpha == 255)).mean())


def background(subject: Subject) -> float | None:
    """Share of a picture that is one plain colour joined to the picture's edge."""
    if not subject.visible.all():
        return None
    if subject.key is None:
        return 0.0
    labels, _ = ndimage.label(subject.near(subject.key, _BACKGROUND))
    outer = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    return float(np.isin(labels, outer[outer > 0]).mean())


def fringe(subject: Subject) -> float | None:
    """How many pixels of the sprite's edge are near the background's colour."""
    found = fringe_pixels(subject)
    return None if found is None else float(found.sum())


def fringe_pixels(subject: Subject) -> Flags | None:
    """Which pixels those are, [H, W]; None where the background's colour is not known.

    Only areas of it that are an edge and no more count, and not what reaches into the sprite: a
    grey sword on a grey background is a grey sword.
    """
    if not subject.is_cut_out or subject.key is None:
        return None
    labels, count = ndimage.label(subject.near(subject.key, _FRINGE), AROUND)
    inner = np.unique(labels[~subject.border])
    rims = np.setdiff1d(np.arange(1, count + 1), inner)
    found: Flags = np.isin(labels, rims)
    return found


def enclosed_background(subject: Subject) -> float | None:
    """How many areas of the background's colour are left inside the sprite."""
    found = enclosed_pixels(subject)
    return None if found is None else float(ndimage.label(found)[1])


def enclosed_pixels(subject: Subject) -> Flags | None:
    """Which pixels are in such areas, [H, W]; None where the background's colour is not known.

    They are what a cut-out would take away from the sprite on that background, and so not its light
    parts, if they are connected and do not reach the sprite's edge.
    """
    if not subject.is_cut_out or subject.key_color is None or subject.key is None:
        return None
    none = np.zeros(subject.visible.shape, dtype=np.bool_)
    near = subject.near(subject.key, _BACKGROUND)
    if not near.any():
        return none
    ground = np.array(subject.key_color, dtype=np.uint8)
    whole = np.where(subject.visible[..., None], subject.rgb, ground)
    try:
        alpha = cut_out(whole, _ENCLOSED_ONLY)[..., 3]
    except BadInput:
        # All of it is near the background, so none of it can be told from the sprite.
        return none
    labels, count = ndimage.label(near & (alpha == 0))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[np.unique(labels[subject.border])] = 0
    sizes[0] = 0
    found: Flags = (sizes >= _ENCLOSED)[labels]
    return found
