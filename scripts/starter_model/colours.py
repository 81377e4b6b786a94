"""The ten sprite colours, the fixed materials, and the colour measure on opaque pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .canvas import Ramp

COLOURS: dict[str, Ramp] = {
    "red": Ramp((92, 12, 28), (168, 24, 42), (222, 44, 48), (246, 98, 84), (255, 214, 200)),
    "orange": Ramp((120, 44, 6), (222, 104, 14), (250, 138, 26), (255, 174, 72), (255, 228, 178)),
    "yellow": Ramp((118, 84, 6), (208, 164, 18), (250, 216, 40), (255, 238, 106), (255, 252, 214)),
    "green": Ramp((12, 62, 30), (28, 122, 50), (56, 172, 66), (118, 208, 96), (220, 250, 196)),
    "cyan": Ramp((6, 78, 92), (18, 156, 172), (40, 206, 218), (126, 236, 238), (224, 255, 252)),
    "blue": Ramp((18, 28, 100), (34, 60, 172), (48, 98, 226), (98, 150, 250), (208, 226, 255)),
    "purple": Ramp((52, 14, 92), (96, 34, 154), (140, 62, 204), (184, 112, 238), (236, 212, 255)),
    "pink": Ramp((132, 28, 84), (220, 84, 146), (252, 132, 186), (255, 178, 214), (255, 230, 242)),
    "brown": Ramp((52, 28, 14), (98, 58, 30), (140, 88, 48), (180, 124, 76), (230, 194, 150)),
    "grey": Ramp((42, 44, 52), (96, 100, 110), (140, 144, 154), (184, 188, 196), (236, 238, 244)),
}
"""Ramp of each colour, chosen by eye so that no two share a hue and a lightness."""

STEEL = Ramp((38, 42, 58), (104, 112, 134), (152, 162, 182), (200, 208, 222), (248, 250, 255))
WOOD = Ramp((58, 32, 16), (104, 64, 34), (146, 98, 54), (184, 134, 80), (226, 190, 140))
LEATHER = Ramp((44, 28, 22), (78, 52, 38), (110, 76, 54), (144, 106, 78), (196, 160, 128))
GOLD = Ramp((96, 60, 8), (190, 134, 24), (236, 188, 56), (252, 224, 112), (255, 250, 214))
BONE = Ramp((84, 74, 66), (176, 164, 146), (222, 212, 194), (242, 236, 222), (255, 253, 246))
LEAF = Ramp((14, 58, 28), (34, 104, 44), (66, 150, 60), (122, 192, 88), (214, 244, 180))
DARK = Ramp((18, 18, 26), (32, 32, 44), (50, 50, 64), (84, 84, 100), (170, 170, 190))
PAPER = Ramp((104, 80, 54), (198, 172, 130), (236, 216, 176), (250, 238, 210), (255, 252, 240))
FIRE = Ramp((150, 50, 10), (236, 110, 20), (252, 178, 40), (255, 226, 104), (255, 252, 220))
INK = (26, 20, 32)
WHITE = (252, 252, 252)

_D65 = np.array([0.95047, 1.0, 1.08883])
_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
"""IEC 61966-2-1 (sRGB) primaries to CIE XYZ under D65."""


def to_lab(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """sRGB of 8 bits, any shape ending in 3, to CIE L*a*b* (L 0 to 100)."""
    part = pixels.astype(np.float64) / 255.0
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    ratio = linear @ _XYZ.T / _D65
    root = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    lightness = 116 * root[..., 1] - 16
    return np.stack(
        [
            lightness,
            500 * (root[..., 0] - root[..., 1]),
            200 * (root[..., 1] - root[..., 2]),
        ],
        axis=-1,
    )


def _references() -> tuple[list[str], NDArray[np.float64]]:
    names: list[str] = []
    tones: list[tuple[int, int, int]] = []
    for name, ramp in COLOURS.items():
        for tone in (ramp.dark, ramp.base, ramp.light):
            names.append(name)
            tones.append(tone)
    return names, to_lab(np.array(tones, dtype=np.uint8))


_NAMES, _TONES = _references()

_DARKEST = 22.0
"""L* under which a pixel is outline or ink and does not vote."""

_BACKGROUND = 9.0
"""Distance in Lab from the background under which a pixel counts as background."""


def opaque_pixels(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pixels are not background, for (height, width, 3) RGB or (height, width, 4) RGBA.

    With an alpha channel those of alpha 128 and more; without one, those further than
    ``_BACKGROUND`` in Lab from white.
    """
    if picture.shape[-1] == 4:
        return np.asarray(picture[..., 3] >= 128)
    distance = np.linalg.norm(to_lab(picture[..., :3]) - np.array([100.0, 0.0, 0.0]), axis=-1)
    return np.asarray(distance > _BACKGROUND)


def colour_votes(picture: NDArray[np.uint8]) -> dict[str, float]:
    """Share of the voting opaque pixels nearest to each colour; all zero on an empty picture.

    Args:
        picture: (height, width, 3) RGB on white, or (height, width, 4) RGBA, 8 bits.
    """
    lab = to_lab(picture[..., :3])
    voting = opaque_pixels(picture) & (lab[..., 0] >= _DARKEST)
    votes = dict.fromkeys(COLOURS, 0.0)
    points = lab[voting]
    if len(points) == 0:
        return votes
    # Lightness counts half: shade and highlight move it, while hue and chroma carry the name.
    scale = np.array([0.5, 1.0, 1.0])
    distance = np.linalg.norm((points[:, None] - _TONES[None]) * scale, axis=-1)
    nearest = distance.argmin(axis=1)
    # A pure colour says more about a sprite than wood or steel does, so chroma adds weight.
    weights = 40.0 + np.linalg.norm(points[:, 1:], axis=1)
    weights /= weights.sum()
    for index, weight in zip(nearest, weights, strict=True):
        votes[_NAMES[index]] += float(weight)
    return votes


def measure_colour(picture: NDArray[np.uint8]) -> str:
    """The colour with most votes, or an empty string where nothing is opaque."""
    votes = colour_votes(picture)
    name = max(votes, key=lambda key: votes[key])
    return name if votes[name] > 0 else ""
