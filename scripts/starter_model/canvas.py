"""A 32x32 pixel-art canvas: polygons in, shaded and outlined parts out.

Shapes are given in logical pixels (0 to 32, y downwards), moved by one affine map for the whole
sprite, rasterised at four times the size and thresholded, so that every edge is a hard pixel edge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

LOGICAL = 32
"""Side of a drawing in logical pixels."""

_FINE = 4
"""Rasterisation factor; a logical pixel belongs to a shape when half of its 4x4 samples do."""

Point = tuple[float, float]
Mask = NDArray[np.bool_]
Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class Ramp:
    """Five tones of one material, dark to bright, each 8-bit RGB."""

    outline: Rgb
    dark: Rgb
    base: Rgb
    light: Rgb
    shine: Rgb

    def tinted(self, gain: float) -> Ramp:
        """The same material with every tone but the shine multiplied by ``gain`` (about 1)."""

        def scale(tone: Rgb) -> Rgb:
            red, green, blue = (max(0, min(255, round(part * gain))) for part in tone)
            return red, green, blue

        return Ramp(
            scale(self.outline), scale(self.dark), scale(self.base), scale(self.light), self.shine
        )


@dataclass(frozen=True)
class Placement:
    """Where and how large: shift in logical pixels, scale factors, angle in degrees, mirror."""

    shift_x: float = 0.0
    shift_y: float = 0.0
    scale_x: float = 1.0
    scale_y: float = 1.0
    angle: float = 0.0
    mirror: bool = False

    def apply(self, points: Sequence[Point]) -> list[Point]:
        """Move points around the canvas centre."""
        centre = LOGICAL / 2
        cosine, sine = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        moved = []
        for x, y in points:
            across, down = (x - centre) * self.scale_x, (y - centre) * self.scale_y
            if self.mirror:
                across = -across
            moved.append(
                (
                    centre + across * cosine - down * sine + self.shift_x,
                    centre + across * sine + down * cosine + self.shift_y,
                )
            )
        return moved


def oval(x: float, y: float, width: float, height: float | None = None) -> list[Point]:
    """Corner points of an ellipse around (x, y) with the given radii."""
    height = width if height is None else height
    return arc(x, y, width, height, 0, 360)


def arc(x: float, y: float, width: float, height: float, start: float, end: float) -> list[Point]:
    """Points on an ellipse from ``start`` to ``end`` degrees, clockwise on the screen from east."""
    steps = max(6, int(abs(end - start) / 12))
    angles = [math.radians(start + (end - start) * k / steps) for k in range(steps + 1)]
    return [(x + width * math.cos(a), y + height * math.sin(a)) for a in angles]


def box(left: float, top: float, right: float, bottom: float) -> list[Point]:
    """Corners of an upright rectangle."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def star(x: float, y: float, outer: float, inner: float, points: int) -> list[Point]:
    """Corners of a star with its first point straight up."""
    corners = []
    for k in range(2 * points):
        radius = outer if k % 2 == 0 else inner
        angle = math.pi * k / points - math.pi / 2
        corners.append((x + radius * math.cos(angle), y + radius * math.sin(angle)))
    return corners


def shifted(mask: Mask, across: int, down: int) -> Mask:
    """The mask moved by whole pixels; what enters from outside is False."""
    moved = np.zeros_like(mask)
    rows, columns = mask.shape
    target = moved[max(0, down) : rows + min(0, down), max(0, across) : columns + min(0, across)]
    target[...] = mask[
        max(0, -down) : rows + min(0, -down), max(0, -across) : columns + min(0, -across)
    ]
    return moved


def grown(mask: Mask) -> Mask:
    """The mask and its four-neighbours."""
    return (
        mask
        | shifted(mask, 1, 0)
        | shifted(mask, -1, 0)
        | shifted(mask, 0, 1)
        | shifted(mask, 0, -1)
    )


class Canvas:
    """Collects parts back to front.

    Args:
        main: the ramp of the sprite's colour.
        place: the affine map that every shape goes through.
    """

    def __init__(self, main: Ramp, place: Placement) -> None:
        self.main = main
        self.place = place
        self.pixels = np.full((LOGICAL, LOGICAL, 3), 255, dtype=np.uint8)
        self.opaque: Mask = np.zeros((LOGICAL, LOGICAL), dtype=bool)

    def mask(self, *shapes: Sequence[Point]) -> Mask:
        """Logical pixels covered by the union of closed polygons."""
        fine = Image.new("L", (LOGICAL * _FINE, LOGICAL * _FINE), 0)
        brush = ImageDraw.Draw(fine)
        for shape in shapes:
            points = [(x * _FINE, y * _FINE) for x, y in self.place.apply(shape)]
            brush.polygon(points, fill=255)
        return np.asarray(fine.reduce(_FINE)) >= 128

    def stroke(self, points: Sequence[Point], width: float) -> Mask:
        """Logical pixels covered by a line of ``width`` logical pixels through the points."""
        fine = Image.new("L", (LOGICAL * _FINE, LOGICAL * _FINE), 0)
        brush = ImageDraw.Draw(fine)
        scaled = [(x * _FINE, y * _FINE) for x, y in self.place.apply(points)]
        thick = max(_FINE, round(width * _FINE * (self.place.scale_x + self.place.scale_y) / 2))
        brush.line(scaled, fill=255, width=thick, joint="curve")
        return np.asarray(fine.reduce(_FINE)) >= 110

    def part(
        self, mask: Mask, ramp: Ramp | None = None, depth: int = 2, outline: bool = True
    ) -> Mask:
        """Paint a shaded part, light from the upper left, with a one-pixel outline around it.

        Args:
            depth: how many pixels the shade reaches in from the lower right edge (0: flat).
            outline: whether the ring around the part is drawn in the ramp's outline tone.
        """
        ramp = ramp or self.main
        if outline:
            self._fill(grown(mask) & ~mask, ramp.outline)
        self._fill(mask, ramp.base)
        if depth > 0:
            lit = mask & ~(shifted(mask, 1, 1) & shifted(mask, 0, 1) & shifted(mask, 1, 0))
            shade = mask & ~(shifted(mask, -depth, -depth) & shifted(mask, 0, -1))
            self._fill(lit & ~shade, ramp.light)
            self._fill(shade & ~lit, ramp.dark)
        return mask

    def flat(self, mask: Mask, tone: Rgb, within: Mask | None = None) -> None:
        """Paint one tone, optionally only inside another mask."""
        self._fill(mask if within is None else mask & within, tone)

    def dot(self, x: float, y: float, tone: Rgb, within: Mask | None = None) -> None:
        """Paint the one logical pixel under a point."""
        (across, down) = self.place.apply([(x, y)])[0]
        column, row = math.floor(across), math.floor(down)
        if 0 <= column < LOGICAL and 0 <= row < LOGICAL and (within is None or within[row, column]):
            self.pixels[row, column] = tone
            self.opaque[row, column] = True

    def _fill(self, mask: Mask, tone: Rgb) -> None:
        self.pixels[mask] = tone
        self.opaque |= mask
