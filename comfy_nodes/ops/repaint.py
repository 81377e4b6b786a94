"""Repainted true pixels in a picture's own colours, with its outline.

Cells are uint8 [h, w, C] with C 3 (RGB) or 4 (RGBA), flags of cells bool [h, w].
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .arrays import Bytes, Flags
from .color import oklab, pack, unpack
from .palette import find_palette, repaint
from .pixel_art import OPAQUE, PixelArt, outline, silhouette

# OKLab distance up to which a colour of the palette shows a painted one well enough.
_NEAR = 0.06


def inside_outline(true: Bytes, taken: Flags) -> Flags:
    """Those of the taken cells that are inside of the sprite's outline.

    Neither its outline nor what is outside of it is taken. All are where nothing of a sprite is
    taken, or the picture shows none, as it has no background.
    """
    sprite = silhouette(true)
    if sprite is None or not (sprite & taken).any():
        return taken
    return taken & sprite & ~outline(true, sprite)


def repaint_cells(
    art: PixelArt,
    painted: Bytes,
    taken: Flags,
    *,
    background: tuple[int, int, int] = (255, 255, 255),
    new_colours: int = 0,
) -> Bytes:
    """The true pixels of `art` with the taken cells as painted [h, w, 3], in the art's colours.

    Each gets the nearest colour in OKLab of the palette, and of up to `new_colours` that are found
    where it shows the painting worst. Alpha is 0 or 255: in a picture with transparency what is
    painted in the colour of the background is transparent, too, where it goes on from transparent
    cells or the picture's edge; what is enclosed is opaque.
    """
    result = art.true.copy()
    palette = _widened(art.palette, painted[taken], new_colours)
    result[taken, :3] = repaint(painted[taken][None], palette)[0]
    if result.shape[2] == 3:
        return result
    result[taken, 3] = 255
    if (art.true[..., 3] < OPAQUE).any():
        clear = _clear(art.true, painted, taken, palette, background)
        # What nobody sees is no colour of the sprite.
        result[clear] = 0
    return result


def _widened(palette: Bytes, painted: Bytes, count: int) -> Bytes:
    """The palette, and up to `count` of the painted colours [n, 3] that it shows badly."""
    if not count or not len(painted):
        return palette
    nearest = repaint(painted[None], palette)[0]
    away = np.sqrt(((oklab(painted) - oklab(nearest)) ** 2).sum(axis=-1))
    if not (away > _NEAR).any():
        return palette
    added = find_palette(painted[away > _NEAR][None], count)
    return unpack(np.unique(np.concatenate([pack(palette), pack(added)])))


def _clear(
    true: Bytes,
    painted: Bytes,
    taken: Flags,
    palette: Bytes,
    background: tuple[int, int, int],
) -> Flags:
    """The taken cells that are background."""
    behind = np.array([background], dtype=np.uint8)
    # The palette's own colours come last: of the same colour the background is meant.
    nearest = repaint(painted, np.concatenate([behind, palette]))
    alike = taken & (pack(nearest) == pack(behind)[0])
    already = ~taken & (true[..., 3] < OPAQUE)
    start = already.copy()
    start[[0, -1]] |= alike[[0, -1]]
    start[:, [0, -1]] |= alike[:, [0, -1]]
    # Edge to edge, so that an outline is closed where its cells touch at their corners.
    connected: Flags = ndimage.binary_propagation(start, mask=alike | already)
    return connected & alike
