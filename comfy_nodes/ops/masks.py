"""Masks by a rule: from a picture's transparency or a colour, grown and shrunk.

Pictures are uint8 [H, W, C] with C 3 (RGB) or 4 (RGBA), masks bool [H, W].
"""

from __future__ import annotations

from enum import Enum

import numpy as np
from scipy import ndimage

from ..errors import BadInput
from .arrays import Bytes, Flags
from .color import hex_color, oklab, pack, unpack
from .pixel_art import read, seen

LARGEST_GROWTH = 1024
"""By how many pixels a mask can grow or shrink, at most."""


class Rule(str, Enum):
    """What is masked.

    mask: what a given mask has. opaque, transparent: what is there, and what is not. colour: what
    has about the given colour. commonest: what has about the colour that most of the picture has.
    """

    MASK = "mask"
    OPAQUE = "opaque"
    TRANSPARENT = "transparent"
    COLOUR = "colour"
    COMMONEST = "commonest"


def by_rule(
    picture: Bytes,
    rule: Rule,
    *,
    given: Flags | None = None,
    colour: str = "#ffffff",
    tolerance: float = 0.1,
) -> Flags:
    """What the rule masks; `given` is needed for the rule mask alone.

    `colour` is hex; `tolerance` is an OKLab distance, 0 (exactly this colour) to 1. What is
    transparent has no colour. Raises BadInput for a mask that is missing and for what is no colour.
    """
    check_rule(rule, colour, has_mask=given is not None)
    if rule is Rule.MASK and given is not None:
        return given
    there = seen(picture)
    if rule is Rule.OPAQUE:
        return there
    if rule is Rule.TRANSPARENT:
        return ~there
    if rule is Rule.COMMONEST:
        return there & _alike(picture, commonest(picture), tolerance)
    return there & _alike(picture, np.array(_colour(colour), dtype=np.uint8), tolerance)


def check_rule(rule: Rule, colour: str | None, *, has_mask: bool) -> None:
    """Raises BadInput where a rule lacks what it needs; a colour of None is not known yet."""
    if rule is Rule.MASK and not has_mask:
        raise BadInput("The rule is 'mask', and none is given: link one, or choose a rule.")
    if rule is Rule.COLOUR and colour is not None:
        _colour(colour)


def _colour(text: str) -> tuple[int, int, int]:
    found = hex_color(text.strip())
    if found is None:
        raise BadInput(f"{text!r} is no colour: write one like #1a2b3c.")
    return found


def commonest(picture: Bytes) -> Bytes:
    """The colour [3] that most pixels which are seen have; of several the one of least number."""
    colors = pack(picture)[seen(picture)]
    if not len(colors):
        raise BadInput("The whole picture is transparent, so no colour is its commonest.")
    colors, counts = np.unique(colors, return_counts=True)
    return unpack(colors[counts.argmax()])


def _alike(picture: Bytes, colour: Bytes, tolerance: float) -> Flags:
    packed, place = np.unique(pack(picture), return_inverse=True)
    apart = ((oklab(unpack(packed)) - oklab(colour)) ** 2).sum(axis=-1)
    alike: Flags = (apart <= tolerance**2 + 1e-12)[place.reshape(picture.shape[:2])]
    return alike


def grown(mask: Flags, pixels: int) -> Flags:
    """The mask widened by so many pixels on every side, or narrowed where they are below 0.

    The picture's own edge is no edge of the mask.
    """
    if pixels == 0 or not mask.any():
        return mask
    size = 2 * abs(pixels) + 1
    # Of flags the largest and the smallest around a pixel; the picture's edge goes on outside.
    filtered = ndimage.maximum_filter if pixels > 0 else ndimage.minimum_filter
    result: Flags = filtered(mask, size=size, mode="nearest")
    return result


def sprite_mask(
    picture: Bytes,
    rule: Rule,
    *,
    given: Flags | None = None,
    colour: str = "#ffffff",
    tolerance: float = 0.1,
    grow: int = 0,
    invert: bool = False,
    true_pixels: bool = False,
) -> Flags:
    """The mask of a rule, inverted, then grown or shrunk.

    With `true_pixels` it has whole cells of the picture's own grid, those of which at least half
    are masked, and grows by cells. Raises BadInput as `by_rule`, and where nothing is masked.
    """
    mask = by_rule(picture, rule, given=given, colour=colour, tolerance=tolerance)
    if invert:
        mask = ~mask
    if not mask.any():
        why = "The rule marks the whole picture, and is inverted" if invert else _NOTHING[rule]
        raise BadInput(f"{why}, so the mask is empty.")
    mask = _grown_by_cells(picture, mask, grow) if true_pixels else grown(mask, grow)
    if not mask.any():
        raise BadInput(
            f"Nothing of the mask is left when it is shrunk by {-grow} pixels."
            if grow < 0
            else "The mask covers half of no true pixel of the picture."
        )
    return mask


_NOTHING = {
    Rule.MASK: "The given mask marks nothing",
    Rule.OPAQUE: "Nothing in the picture is opaque",
    Rule.TRANSPARENT: "Nothing in the picture is transparent",
    Rule.COLOUR: "Nothing in the picture is within the tolerance of that colour",
    Rule.COMMONEST: "Nothing in the picture is within the tolerance of its commonest colour",
}


def _grown_by_cells(picture: Bytes, mask: Flags, by: int) -> Flags:
    """The cells of the picture's own grid of which at least half are masked, grown by cells."""
    art = read(picture)
    return art.spread(grown(art.mostly(mask), by)).astype(bool)
