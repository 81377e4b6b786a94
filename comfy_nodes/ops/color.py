"""Perceptual colour: OKLab, in which equal distances look about equally different."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

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


def oklab(rgb: NDArray[Any]) -> Floats:
    """OKLab [..., 3] of sRGB bytes [..., 3]. L is 0 (black) to 1 (white); a, b about -0.4..0.4."""
    encoded = rgb.astype(np.float64) / 255.0
    # The sRGB transfer function, IEC 61966-2-1.
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    lab: Floats = np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T
    return lab


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
