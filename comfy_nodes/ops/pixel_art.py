"""A picture as pixel art: its true pixels, where their cells are, its colours and its outline.

Pictures are uint8 [H, W, C] with C 3 (RGB) or 4 (RGBA); flags of cells are bool [h, w], one for
each true pixel, and flags of px bool [H, W].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import BadInput
from .arrays import Bytes, Flags, Ints
from .color import oklab, pack, unpack
from .cutout import CutoutOptions, cut_out
from .palette import LARGEST, find_palette, repaint
from .true_pixels import Snapped, snap

OPAQUE = 128
"""From this alpha on a cell is there."""

# Most colours of a picture that is pixel art although no grid shows, and cells to each of them: it
# is at its true size then. A photograph of 32x32 has nearly as many colours as pixels.
_FEW, _EACH = 64, 4
# The sprite with every pixel of its outline, as nothing of it is to be cut out.
_WHOLE = CutoutOptions(despill=False, smallest_part=0.0)
# Part of the picture's edge that a plain background covers, at least.
_PLAIN = 0.5
# OKLab lightness by which an outline is darker than the middle of what it is around.
_DARKER = 0.08
# px that a cell needs so that both its borders can be moved by one.
_ROOM = 3
_ALL_AROUND = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True, eq=False)
class PixelArt:
    """The true pixels of a picture.

    `columns` (w + 1) and `rows` (h + 1) are the px of the picture at which the cells begin, and
    where the last of them ends. `palette`, uint8 [N, 3], has the colours that are seen, each of
    them one that the picture has, at most 256.
    """

    true: Bytes
    columns: Ints
    rows: Ints
    palette: Bytes

    @property
    def pitch(self) -> tuple[float, float]:
        """Width and height of a cell in px, the mean of all."""
        height, width = self.true.shape[:2]
        return float(self.columns[-1]) / width, float(self.rows[-1]) / height

    def whole(self, flags: Flags) -> Flags:
        """The cells [h, w] whose every px [H, W] is set."""
        set_ones, size = self._counts(flags)
        return (set_ones == size) & (size > 0)

    def mostly(self, flags: Flags) -> Flags:
        """The cells [h, w] of which at least half the px [H, W] are set."""
        set_ones, size = self._counts(flags)
        return (2 * set_ones >= size) & (size > 0)

    def spread(self, cells: NDArray[np.generic]) -> NDArray[np.generic]:
        """The px [H, W, ...] of cells [h, w, ...]: each has the value of its cell."""
        tall = np.repeat(cells, np.diff(self.rows), axis=0)
        return np.repeat(tall, np.diff(self.columns), axis=1)

    def _counts(self, flags: Flags) -> tuple[Ints, Ints]:
        """How many px of each cell are set, and how many it has."""
        sums = np.zeros((flags.shape[0] + 1, flags.shape[1] + 1), dtype=np.int64)
        sums[1:, 1:] = flags.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
        corners = sums[self.rows][:, self.columns]
        counts: Ints = np.diff(np.diff(corners, axis=0), axis=1)
        return counts, np.diff(self.rows)[:, None] * np.diff(self.columns)[None, :]


def read(picture: Bytes) -> PixelArt:
    """The picture as pixel art, whatever it is: on the grid that is found, or px by px."""
    return _art(picture, snap(picture))


def find(picture: Bytes) -> PixelArt | None:
    """The picture as pixel art where it is: on a sure grid, or px by px where it has few colours.

    Few are at most 64, and one for each four px that are seen. None for anything else.
    """
    found = snap(picture)
    if found.pitch != (1.0, 1.0):
        return _art(picture, found) if found.sure else None
    few = found.colours <= min(_FEW, int(seen(found.picture).sum()) // _EACH)
    return _art(picture, found) if few else None


def _art(picture: Bytes, found: Snapped) -> PixelArt:
    palette = _palette(picture, found.picture[seen(found.picture)][:, :3])
    columns, rows = (
        _at_changes(borders, picture if axis else picture.transpose(1, 0, 2))
        for axis, borders in enumerate((found.columns, found.rows))
    )
    return PixelArt(found.picture, columns, rows, palette)


def _at_changes(borders: Ints, lines: Bytes) -> Ints:
    """The borders, each moved by a pixel where the lines [N, L, C] change more there.

    Cells enlarged by a fraction begin at whole pixels, rounded in a way that no lattice tells.
    """
    if len(borders) < 3 or np.diff(borders).min() < _ROOM:
        return borders
    changes = np.abs(np.diff(lines.astype(np.int16), axis=0)).sum(axis=(1, 2))
    # The border itself first: it stays where another is only as strong.
    near = borders[1:-1, None] + np.array([0, -1, 1])
    best = near[np.arange(len(near)), changes[near - 1].argmax(axis=1)]
    return np.concatenate([borders[:1], best, borders[-1:]])


def seen(picture: Bytes) -> Flags:
    """Where a picture is there, and not transparent."""
    if picture.shape[2] == 3:
        return np.ones(picture.shape[:2], dtype=bool)
    there: Flags = picture[..., 3] >= OPAQUE
    return there


def _palette(picture: Bytes, colors: Bytes) -> Bytes:
    """The colours [n, 3] of the cells that are seen, each as the nearest one of the picture."""
    if not len(colors):
        return np.zeros((1, 3), dtype=np.uint8)
    found = find_palette(colors[None], LARGEST)
    # A cell's colour may be a median that no px has.
    there = np.unique(pack(picture[seen(picture)]))
    if np.isin(pack(found), there).all():
        return found
    return unpack(np.unique(pack(repaint(found[None], unpack(there))[0])))


def silhouette(true: Bytes) -> Flags | None:
    """The cells of the sprite: what is there, or stands before a plain background.

    None where there is neither transparency nor a plain background, as in a picture of a scene.
    """
    if true.shape[2] == 4 and not seen(true).all():
        return seen(true)
    try:
        sprite = seen(cut_out(true[..., :3], _WHOLE))
    except BadInput:
        return None
    edge = np.concatenate([sprite[0], sprite[-1], sprite[:, 0], sprite[:, -1]])
    return sprite if (~edge).mean() >= _PLAIN else None


def outline(true: Bytes, sprite: Flags) -> Flags:
    """The cells of the sprite's outline, and of the lines of its colours that go on inside.

    A cell at the sprite's edge belongs to it where it is darker than the middle of what the edge
    is around. Lines are at most two cells wide: a larger area of the same colour is a part that
    is filled.
    """
    # Edge to edge: what touches the background only at a corner is inside of a closed outline.
    inside = ndimage.binary_erosion(sprite, border_value=0)
    edge = sprite & ~inside
    if not inside.any():
        return edge
    lightness = oklab(true[..., :3])[..., 0]
    dark = edge & (lightness < np.median(lightness[inside]) - _DARKER)
    alike = sprite & np.isin(pack(true), np.unique(pack(true)[dark]))
    lines = dark | (alike & ~ndimage.binary_opening(alike, _ALL_AROUND))
    kept: Flags = ndimage.binary_propagation(dark, _ALL_AROUND, mask=lines)
    return kept
