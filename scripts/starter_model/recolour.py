"""Recolouring in OKLab: the sprite's main material gets the ramp of a named colour."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from comfy_nodes.ops.color import oklab

from .colours import COLOURS
from .tiles import Rgba

MORE_COLOURS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "black": ((8, 8, 12), (26, 26, 34), (46, 46, 56), (80, 80, 92), (140, 140, 152)),
    "white": ((96, 96, 108), (178, 178, 188), (220, 220, 228), (236, 236, 240), (240, 240, 240)),
}
"""Ramps of the two that are no hue, dark to bright."""

_OUTLINE = 0.22
"""OKLab lightness under which a pixel is outline and stays."""

_COLOURED = 0.045
"""OKLab chroma from which on a pixel has a hue."""

_NEAR = math.radians(55)
"""Hues that belong to one material."""


def ramp_of(colour: str) -> NDArray[np.float64]:
    """(5, 3) OKLab tones of a colour, dark to bright.

    Raises:
        KeyError: for an unknown colour.
    """
    if colour in MORE_COLOURS:
        tones = MORE_COLOURS[colour]
    else:
        ramp = COLOURS[colour]
        tones = (ramp.outline, ramp.dark, ramp.base, ramp.light, ramp.shine)
    return np.asarray(oklab(np.array(tones, dtype=np.uint8)), dtype=np.float64)


def recoloured(pixels: Rgba, colour: str) -> Rgba:
    """The sprite with its main material in the colour; light and shade stay.

    Args:
        pixels: (height, width, 4) RGBA.
        colour: a key of ``COLOURS`` or ``MORE_COLOURS``.
    """
    there = pixels[..., 3] > 0
    lab = np.asarray(oklab(np.ascontiguousarray(pixels[..., :3])), dtype=np.float64)
    chosen = _main_material(lab, there)
    if not chosen.any():
        return pixels
    light = lab[..., 0][chosen]
    low, high = np.quantile(light, (0.03, 0.97))
    share = np.clip((light - low) / max(high - low, 0.12), 0.0, 1.0)
    ramp = ramp_of(colour)
    # Mostly dark to light; the outline's and the shine's tones only at the very ends.
    places = np.array([0.0, 0.16, 0.5, 0.84, 1.0])
    tones = np.stack([np.interp(share, places, ramp[:, part]) for part in range(3)], axis=-1)
    result = pixels.copy()
    result[chosen, :3] = from_oklab(tones)
    return result


def _main_material(lab: NDArray[np.float64], there: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of the hue that most of the sprite has, or its greys where most is grey."""
    voting = there & (lab[..., 0] >= _OUTLINE)
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    hue = np.arctan2(lab[..., 2], lab[..., 1])
    coloured = voting & (chroma >= _COLOURED)
    if coloured.sum() < 0.3 * voting.sum():
        return voting & ~coloured
    bins, edges = np.histogram(hue[coloured], 24, (-math.pi, math.pi), weights=chroma[coloured])
    around = bins + np.roll(bins, 1) + np.roll(bins, -1)
    peak = edges[int(around.argmax())] + math.pi / 24
    off = np.abs((hue - peak + math.pi) % (2 * math.pi) - math.pi)
    return coloured & (off <= _NEAR)


_TO_CONE = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_TO_LINEAR = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)
"""Björn Ottosson, A perceptual color space for image processing (2020)."""


def from_oklab(lab: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(..., 3) OKLab to sRGB of 8 bits, clipped."""
    linear = np.clip((lab @ _TO_CONE.T) ** 3 @ _TO_LINEAR.T, 0.0, 1.0)
    part = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(np.round(part * 255), dtype=np.uint8)
