"""Perceptual colour: OKLab, in which equal distances look about equally different."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Floats

# The matrices of B. Ottosson, "A perceptual color space for image processing", 2020
# (bottosson.github.io/posts/oklab).
_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


# At a time: so few that the matrix product, whose threads would wait for each other, takes one.
_ROWS = 8192

# The sRGB transfer function, IEC 61966-2-1: what each of the 256 bytes is as a share of light.
_ENCODED = np.arange(256) / 255.0
_LINEAR = np.where(_ENCODED <= 0.04045, _ENCODED / 12.92, ((_ENCODED + 0.055) / 1.055) ** 2.4)


def oklab(rgb: NDArray[np.uint8]) -> Floats:
    """OKLab [..., 3] of sRGB bytes [..., 3]. L is 0 (black) to 1 (white); a, b about -0.4..0.4.

    A colour has the same OKLab to the last bit wherever it stands and whatever it stands beside.
    """
    light = _LINEAR[rgb].reshape(-1, 3)
    lab = np.empty_like(light)
    for start in range(0, len(light), _ROWS):
        part = light[start : start + _ROWS]
        # One row alone would be multiplied by another routine, which rounds in another way.
        rows = part if len(part) > 1 else np.repeat(part, 2, axis=0)
        lab[start : start + _ROWS] = (np.cbrt(rows @ _TO_LMS.T) @ _TO_LAB.T)[: len(part)]
    return lab.reshape(rgb.shape)


def pack(rgb: NDArray[Any]) -> NDArray[np.int64]:
    """One number 0xRRGGBB for each colour: uint8 [..., 3] -> int64 [...]."""
    wide = rgb.astype(np.int64)
    packed: NDArray[np.int64] = (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]
    return packed


def unpack(packed: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The inverse of `pack`."""
    parts = [packed >> 16, (packed >> 8) & 255, packed & 255]
    return np.stack(parts, axis=-1).astype(np.uint8)


def hex_color(text: str) -> tuple[int, int, int] | None:
    """Red, green and blue of "1a2b3c", with or without "#" before it; None for anything else."""
    digits = text.removeprefix("#")
    if not re.fullmatch(r"[0-9a-fA-F]{6}", digits):
        return None
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue
