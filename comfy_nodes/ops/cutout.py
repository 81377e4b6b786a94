"""Cutting a sprite out of its plain background.

Pictures are uint8 [H, W, C] with C 3 (RGB) or 4 (RGBA), of any size; sprites at their true size,
as `true_pixels.snap` gives them, are what it is made for. The background and its enclosed areas are
connected edge to edge, parts of the sprite corner to corner, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import BadInput
from .arrays import Bytes, Flags, Floats, Labels
from .color import oklab, pack, unpack

__all__ = ["CutoutOptions", "Outline", "cut_out"]

Rgb = tuple[int, int, int]
# Rows and columns of some pixels.
Place = tuple[NDArray[np.intp], NDArray[np.intp]]

# From this alpha on a pixel is there.
_THERE = 128
# The part of the tolerance by which a pixel may differ from the background in one sharp step.
_SHARP = 0.2
# And how much of the noise on the picture's border is allowed for besides.
_NOISES = 3.0
# OKLab; from one pixel to the next, a shadow or a gradient changes by no more.
_STEP = 0.02
# OKLab; an enclosed area has a shade of its own where so much of it is so far off the background's.
_OWN, _SHADED = 0.012, 0.75
# Chroma in OKLab from which on a background is a key, as a green or a magenta one is.
_KEY = 0.1
# Two rims are one outline when their mean colours are this close in OKLab.
_RIM = 0.2
# Share of an area's frame behind which the outside lies at once, from which on it is only a line
# around a part of the sprite; and how thick such a line is at most, in px.
_SHELL, _LINE = 0.5, 1
# OKLab; what a mixed pixel is mixed with is so far from the background at least.
_FAR = 0.2
# Of a mixed pixel: most of the sprite's colour in it, for hard and for soft edges, and how far it
# may be off the straight line between both colours, as a part of that line, plus steps of 255.
_MIXED, _MIXED_SOFT, _OFF, _ROUNDED = 0.75, 0.95, 0.15, 6.0
# A straight line of mixed pixels with so much of the sprite in each is a bevel, lit from one side,
# where it is so long: in px, and as a part of the picture's longer side.
_LIT, _LINES, _LONG = 0.2, 8, 0.25
# Rings of mixed pixels around a sprite, at most.
_RINGS = 2
# Share of the rim that has the outline's colour, from which on a sprite is called outlined; and
# how far from that colour a pixel of it may be in OKLab.
_OUTLINED, _LIKE_OUTLINE = 0.6, 0.15
# Where the outline's colour is found among those of the rim, from dark (0) to light (1).
_DARK = 0.1
# px; longer gaps in an outline are meant.
_GAP = 4
# OKLab; how near a pixel of the picture's border is to the background's colour.
_BORDER = 0.1
# The share of more border pixels that a slope must explain to be one.
_SLOPE = 1.1

_FOUR = ndimage.generate_binary_structure(2, 1)
_EIGHT = ndimage.generate_binary_structure(2, 2)
_SIDES = ((0, 1), (0, -1), (1, 0), (-1, 0))
_CORNERS = ((1, 1), (1, -1), (-1, 1), (-1, -1))


class Outline(str, Enum):
    """What is done about the sprite's outline."""

    NONE = "none"
    CLOSE = "close"
    """Gaps of up to four pixels in it get its colour."""
    INSIDE = "inside"
    """The sprite's outermost pixels get the colour."""
    OUTSIDE = "outside"
    """One pixel around the sprite, where the sprite's own are not of the colour already."""


@dataclass(frozen=True)
class CutoutOptions:
    """How a sprite is cut out.

    `tolerance` is how far a colour may be from the background's and still be background, in OKLab
    (0: the same, 1: as black from white): reached in small steps, as in a gradient or a shadow; of
    a sharp step it is a fifth. Noise on the picture's border is allowed for besides.

    Enclosed areas of the background's colour are cut out where they cover at least `smallest_hole`
    of the picture (0 to 1; 1: never) and, with `keep_light`, do not look like a light part of the
    sprite: shaded, framed by other colours than the sprite is, or with only a line between them and
    the outside. What only a gap of one pixel connects with the outside is then judged likewise. A
    saturated background is taken for a key, which sprites have nothing of: areas of it stay only
    where they are shaded, whatever their size.

    `despill` removes pixels that are mixed of background and sprite, or gives them the sprite's
    colour. Parts smaller than `smallest_part` of the largest are dropped. `soft` keeps what is
    mixed as half-transparent, with the sprite's colour. `outline_colour` is by default the
    sprite's own.
    """

    tolerance: float = 0.15
    smallest_hole: float = 0.004
    keep_light: bool = True
    despill: bool = True
    smallest_part: float = 0.01
    soft: bool = False
    outline: Outline = Outline.NONE
    outline_colour: Rgb | None = None

    def check(self) -> None:
        """Raises BadInput for what no picture could be cut out with."""
        for name in ("tolerance", "smallest_hole", "smallest_part"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise BadInput(f"{name} is 0 to 1, not {value:g}.")
        if self.soft and self.outline is not Outline.NONE:
            raise BadInput("An outline needs edges that are not soft: choose one of both.")


def cut_out(picture: Bytes, options: CutoutOptions = CutoutOptions()) -> Bytes:
    """The sprite of a uint8 [H, W, 3 or 4] picture: uint8 [H, W, 4], alpha 0 or 255 unless `soft`.

    Transparent pixels get the colour 0, 0, 0. A picture that has transparent pixels already keeps
    them as its background, and is only made binary, freed of small parts and outlined; so cutting
    out twice changes nothing. Raises BadInput where nothing would be left, or an option cannot be.
    """
    options.check()
    _check(picture)
    # What would be opaque all over is taken for not cut out, so that it stays one or the other.
    if picture.shape[2] == 4 and (picture[..., 3] < (255 if options.soft else _THERE)).any():
        alpha = picture[..., 3]
        if not options.soft:
            alpha = np.where(alpha >= _THERE, 255, 0).astype(np.uint8)
        colours = picture[..., :3].copy()
    else:
        colours, alpha = _from_background(np.ascontiguousarray(picture[..., :3]), options)
    alpha = _large_parts(alpha, options.smallest_part)
    if not alpha.any():
        raise BadInput(
            "Nothing would be left: the whole picture is transparent, or within the tolerance of "
            "its border's colour. Lower the tolerance, or use a picture with something on a plain "
            "background."
        )
    while options.outline is not Outline.NONE:
        colours, alpha = _outlined(colours, alpha, options)
        # A part without an outline of its own may have become a small one beside the others.
        large = _large_parts(alpha, options.smallest_part)
        if np.array_equal(large, alpha):
            break
        alpha = large
    colours[alpha == 0] = 0
    return np.concatenate([colours, alpha[..., None]], axis=2)


def _check(picture: Bytes) -> None:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in (3, 4):
        raise BadInput("Expected a picture as bytes of shape [H, W, 3 or 4].")
    if 0 in picture.shape:
        raise BadInput("A picture without pixels has nothing to cut out.")


# -------------------------------------------------------------------------- the background


@dataclass(frozen=True)
class _Ground:
    """The background's colour at each pixel, and what is known about it."""

    # float64 [H, W, 3] or [1, 1, 3], 0 to 255
    colours: Floats
    # float64 [H, W], OKLab distance of the picture from it
    distance: Floats
    # OKLab; what its own pixels are off on the border, 95 of 100
    noise: float
    # float64 [H, W, 3], OKLab of the picture
    lab: Floats
    # int64 [H, W], the distance first, then the colour, so that no direction is preferred in ties
    rank: NDArray[np.int64]

    @property
    def keyed(self) -> bool:
        """Whether the background has a saturated colour, which sprites have none of."""
        middle = oklab(np.rint(self.colours.mean(axis=(0, 1))).astype(np.uint8))
        return float(np.hypot(middle[1], middle[2])) >= _KEY


def _from_background(picture: Bytes, options: CutoutOptions) -> tuple[Bytes, Bytes]:
    """Colours and alpha of an opaque picture: uint8 [H, W, 3] and [H, W]."""
    ground = _ground(picture, sloped=options.tolerance > 0)
    background, kept = _areas(ground, options)
    alpha = np.where(background, 0, 255).astype(np.uint8)
    if background.all() or not (options.despill or options.soft):
        return picture.copy(), alpha
    if not ground.distance[background].any():
        # A picture drawn by hand on one flat colour has no mixed pixels, except beside an outline.
        rim = _rim(~background)
        alike = _like_outline(picture, rim)
        if alike.sum() < _OUTLINED * rim.sum() and not options.soft:
            return picture.copy(), alpha
        kept = kept | alike
    return _unmixed(picture, ground, background, kept, options.soft)


def _ground(picture: Bytes, sloped: bool) -> _Ground:
    """What the border says of the background: one colour, or colours that change evenly."""
    lab = oklab(picture)
    edge = _border(picture)
    _, inverse, counts = np.unique(pack(edge >> 3), return_inverse=True, return_counts=True)
    # A shade is a cube of 8 steps a channel, as a decoded background is never quite flat.
    shade = edge[inverse.ravel() == counts.argmax()].astype(float)
    off = np.abs(shade - np.median(shade, axis=0)).sum(axis=1)
    # One that is there, so that a tolerance of 0 has something to find.
    flat = shade[np.lexsort((pack(shade), off))[0]][None, None]
    slope = _slope(picture, flat) if sloped else None
    edge_lab = _border(lab)
    colours, best = flat, _apart(edge_lab, oklab(flat.astype(np.uint8))[0])
    if slope is not None:
        own = _apart(edge_lab, oklab(_border(slope).astype(np.uint8)))
        if (own <= _BORDER / 3).sum() > _SLOPE * (best <= _BORDER / 3).sum():
            colours, best = slope, own
    noise = float(np.quantile(best[best <= _BORDER], 0.95)) if (best <= _BORDER).any() else 0.0
    distance = _apart(lab, oklab(colours.astype(np.uint8)))
    rank = (np.rint(distance * 1e6).astype(np.int64) << 24) | pack(picture)
    return _Ground(colours, distance, noise, lab, rank)


def _slope(picture: Bytes, flat: Floats) -> Floats | None:
    """A plane through the border's colours [H, W, 3], whole numbers, or None for too small ones."""
    height, width = picture.shape[:2]
    if min(height, width) < 4:
        return None
    y, x = np.mgrid[0:height, 0:width]
    places = np.stack([np.ones(height * width), y.ravel(), x.ravel()], axis=1)
    places = places.reshape(height, width, 3)
    at, seen = _border(places), _border(picture)
    known = np.broadcast_to(flat[0], seen.shape)
    for _ in range(4):
        off = _apart(oklab(seen), oklab(np.ascontiguousarray(known).astype(np.uint8)))
        near = off <= _BORDER
        if near.sum() < 8:
            return None
        plane = np.linalg.lstsq(at[near], seen[near].astype(float), rcond=None)[0]
        known = np.rint(np.clip(at @ plane, 0, 255))
    found: Floats = np.rint(np.clip(places @ plane, 0, 255))
    return found


def _areas(ground: _Ground, options: CutoutOptions) -> tuple[Flags, Flags]:
    """Which pixels are background, and which of its colour belong to the sprite: bool [H, W]."""
    sharp = min(options.tolerance, _SHARP * options.tolerance + _NOISES * ground.noise)
    near = ground.distance <= sharp
    near |= (ground.distance <= options.tolerance) & _smooth(ground)
    outside = _outside(near, options.keep_light)
    areas, count = ndimage.label(near & ~outside, _FOUR)
    sizes = np.bincount(areas.ravel(), minlength=count + 1)
    large = sizes >= options.smallest_hole * near.size
    if ground.keyed and options.smallest_hole < 1:
        large[:] = True
    beside = np.zeros(count + 1, dtype=bool)
    beside[areas[ndimage.binary_dilation(outside, _FOUR)]] = True
    goes = (
        large
        if not options.keep_light
        else large & ~_light(ground, areas, outside, options.tolerance)
    )
    # What is connected and small is a corner of the background.
    goes |= beside & ~large
    goes[0] = False
    background = outside | goes[areas]
    return background, near & ~background


def _smooth(ground: _Ground) -> Flags:
    """Where the colour changes by little to each of the four neighbours."""
    bound = max(_STEP, ground.noise)
    smooth = np.ones(ground.distance.shape, dtype=bool)
    across = _apart(ground.lab[:, 1:], ground.lab[:, :-1]) <= bound
    smooth[:, 1:] &= across
    smooth[:, :-1] &= across
    down = _apart(ground.lab[1:], ground.lab[:-1]) <= bound
    smooth[1:] &= down
    smooth[:-1] &= down
    return smooth


def _outside(near: Flags, keep_light: bool) -> Flags:
    """What of `near` is connected with the picture's border.

    With `keep_light` it must be by a way two pixels wide, or lead nowhere that is wider than one.
    """
    # So wide that it leads around a sprite that touches the border.
    padded = np.pad(near, 2, constant_values=True)
    if not keep_light:
        areas, _ = ndimage.label(padded, _FOUR)
        return (areas == areas[0, 0])[2:-2, 2:-2]
    corner = padded[:-1, :-1] & padded[1:, :-1] & padded[:-1, 1:] & padded[1:, 1:]
    wide = np.zeros_like(padded)
    for part in (wide[:-1, :-1], wide[1:, :-1], wide[:-1, 1:], wide[1:, 1:]):
        part |= corner
    areas, _ = ndimage.label(wide, _FOUR)
    outside = areas == areas[0, 0]
    rest, count = ndimage.label(padded & ~outside, _FOUR)
    joined = np.zeros(count + 1, dtype=bool)
    joined[rest[ndimage.binary_dilation(outside, _FOUR)]] = True
    joined[rest[wide & ~outside]] = False
    joined[0] = False
    return (outside | joined[rest])[2:-2, 2:-2]


def _light(ground: _Ground, areas: Labels, outside: Flags, tolerance: float) -> Flags:
    """Which of the numbered areas are light parts of the sprite: bool [count + 1]."""
    count = int(areas.max())
    total = np.maximum(np.bincount(areas.ravel(), minlength=count + 1), 1)
    off = ground.distance > max(_OWN, ground.noise)
    light = np.bincount(areas[off], minlength=count + 1) > _SHADED * total
    light[0] = False
    if ground.keyed:
        return light
    # A shadow or a rest of the background is no frame.
    pale = ground.distance <= tolerance
    frame, number = _frames(areas, pale)
    inner = ground.lab[frame]
    sums = np.stack([np.bincount(number, inner[:, i], count + 1) for i in range(3)], axis=1)
    total = np.maximum(np.bincount(number, minlength=count + 1), 1)
    rim, _ = _frames(outside.astype(np.int32), pale)
    if len(rim[0]):
        light |= _apart(sums / total[:, None], ground.lab[rim].mean(axis=0)) > _RIM
    behind = ndimage.binary_dilation(outside, _EIGHT, iterations=_LINE)
    shell = np.bincount(number, behind[frame], count + 1) / total
    return light | (shell >= _SHELL)


def _frames(areas: Labels, pale: Flags) -> tuple[Place, Labels]:
    """The pixels of the sprite that touch a numbered area, and the number of the area, for each."""
    rows, columns, numbers = [], [], []
    for down, right in _SIDES:
        moved = _moved(areas, down, right)
        y, x = np.nonzero((moved > 0) & ~pale)
        rows.append(y)
        columns.append(x)
        numbers.append(moved[y, x])
    return (np.concatenate(rows), np.concatenate(columns)), np.concatenate(numbers)


# ------------------------------------------------------------------------------ mixed edges


def _like_outline(picture: Bytes, rim: Flags) -> Flags:
    """Which pixels of the rim have the outline's colour."""
    if not rim.any():
        return rim
    return _near_colour(picture, rim, _outline_colour(picture, rim))


def _near_colour(picture: Bytes, rim: Flags, colour: Bytes) -> Flags:
    """Which pixels of the rim are as near to a colour as those of one outline are."""
    alike = rim.copy()
    alike[rim] = _apart(oklab(picture[rim]), oklab(colour)) <= _LIKE_OUTLINE
    return alike


def _unmixed(
    picture: Bytes, ground: _Ground, background: Flags, kept: Flags, soft: bool
) -> tuple[Bytes, Bytes]:
    """Colours and alpha without what is mixed of background and sprite at the sprite's rim."""
    colours, background = picture.copy(), background.copy()
    alpha = np.where(background, 0, 255).astype(np.uint8)
    for _ in range(_RINGS):
        inner = _behind(ground, background)
        rows, columns = np.nonzero((inner >= 0) & ~kept)
        place = rows, columns
        share = _shares(picture, ground, place, unpack(inner[place]))
        mixed = (share < (_MIXED_SOFT if soft else _MIXED)) & ~_bevels(
            place, share, background.shape
        )
        place, share = (place[0][mixed], place[1][mixed]), share[mixed]
        colours[place] = unpack(inner[place])
        alpha[place] = np.rint(255 * share) if soft else np.where(share < 0.5, 0, 255)
        gone = (place[0][share < 0.5], place[1][share < 0.5])
        if not len(gone[0]):
            break
        background[gone] = True
    return colours, alpha


def _bevels(place: Place, share: Floats, shape: tuple[int, ...]) -> Flags:
    """Which of the pixels, in the order they are given, are in long lines across or down."""
    lit = np.flatnonzero((share >= _LIT) & (share < 0.5))
    rows, columns = place[0][lit], place[1][lit]
    least = max(_LINES, _LONG * max(shape))
    found = np.zeros(len(share), dtype=bool)
    found[lit] = (_run_lengths(rows, columns) >= least) | (_run_lengths(columns, rows) >= least)
    return found


def _run_lengths(lines: NDArray[np.intp], along: NDArray[np.intp]) -> NDArray[np.intp]:
    """For each pixel how many stand in its run of neighbours in its line."""
    order = np.lexsort((along, lines))
    begins = (np.diff(lines[order], prepend=-1) != 0) | (np.diff(along[order], prepend=-9) != 1)
    runs = np.cumsum(begins) - 1
    lengths = np.empty(len(lines), dtype=np.intp)
    lengths[order] = np.bincount(runs)[runs]
    return lengths


def _behind(ground: _Ground, background: Flags) -> NDArray[np.int64]:
    """For each pixel at the background the colour behind it, as 0xRRGGBB; -1 where there is none.

    Seen from the background, through the pixel; where several sides are background, that which is
    farthest from the background's colour.
    """
    rank = np.where(background, -1, ground.rank)
    best = np.full(background.shape, -1, dtype=np.int64)
    touches = np.zeros_like(background)
    for down, right in _SIDES:
        at_edge = _moved(background, down, right) & ~background
        best = np.where(at_edge, np.maximum(best, _moved(rank, -down, -right, -1)), best)
        touches |= at_edge
    rows, columns = np.nonzero(touches & (best < 0))
    best[rows, columns] = _behind_tips(rank, (rows, columns))
    return np.where(best >= 0, best & 0xFFFFFF, -1)


def _behind_tips(rank: NDArray[np.int64], tips: Place) -> NDArray[np.int64]:
    """The rank of what is behind pixels that have nothing straight behind them; -1 for nothing.

    One at the picture's edge is seen from beyond it, too, and one that hangs on the sprite by a
    corner alone is seen across. A line of single pixels has nothing behind.
    """
    padded = np.pad(rank, 1, constant_values=-1)
    rows, columns = tips[0] + 1, tips[1] + 1
    found = np.full(len(rows), -1, dtype=np.int64)
    for down, right in _SIDES:
        beyond = np.isin(rows + down, (0, rank.shape[0] + 1))
        beyond |= np.isin(columns + right, (0, rank.shape[1] + 1))
        behind = padded[rows - down, columns - right]
        found = np.where(beyond, np.maximum(found, behind), found)
    around = np.stack([padded[rows + y, columns + x] for y, x in (*_SIDES, *_CORNERS)])
    hangs = (found < 0) & ((around >= 0).sum(axis=0) == 1)
    return np.where(hangs, around[len(_SIDES) :].max(axis=0), found)


def _shares(picture: Bytes, ground: _Ground, place: Place, inner: Bytes) -> Floats:
    """How much of the colour behind it is in each pixel: 0 to 1, and 1 where it is not mixed."""
    below = ground.colours[place] if ground.colours.shape[0] > 1 else ground.colours[0]
    line = inner.astype(float) - below
    own = picture[place].astype(float) - below
    length = np.maximum((line**2).sum(axis=1), 1e-9)
    share = np.clip((own * line).sum(axis=1) / length, 0.0, 1.0)
    off = np.sqrt(((own - share[:, None] * line) ** 2).sum(axis=1))
    straight = off <= _OFF * np.sqrt(length) + _ROUNDED
    far = _apart(oklab(inner), oklab(np.ascontiguousarray(below).astype(np.uint8))) >= _FAR
    return np.where(straight & far, share, 1.0)


# ---------------------------------------------------------------------- parts and outlines


def _large_parts(alpha: Bytes, smallest: float) -> Bytes:
    """The alpha without parts smaller than that share of the largest."""
    parts, count = ndimage.label(alpha, _EIGHT)
    if count < 2:
        return alpha
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    keeps = sizes >= smallest * sizes.max()
    large: Bytes = np.where(keeps[parts], alpha, 0).astype(np.uint8)
    return large


def _rim(there: Flags) -> Flags:
    """Which pixels of the sprite touch transparent ones; what the picture's edge cuts does not."""
    rim = np.zeros_like(there)
    for down, right in _SIDES:
        rim |= there & ~_moved(there, down, right, True)
    return rim


def _outline_colour(colours: Bytes, rim: Flags) -> Bytes:
    """The colour of the outline: a dark one of the rim, uint8 [3].

    One that is there, so that painting the rim with it changes nothing of the answer.
    """
    packed = pack(colours[rim])
    lightness = oklab(colours[rim])[:, 0]
    order = np.lexsort((packed, np.rint(lightness * 1e6)))
    chosen: Bytes = colours[rim][order[int(_DARK * len(order))]]
    return chosen


def _outlined(colours: Bytes, alpha: Bytes, options: CutoutOptions) -> tuple[Bytes, Bytes]:
    there = alpha > 0
    rim = _rim(there)
    if not rim.any():
        return colours, alpha
    wanted = options.outline_colour
    colour = _outline_colour(colours, rim) if wanted is None else np.array(wanted, dtype=np.uint8)
    if options.outline is Outline.INSIDE:
        painted = rim
    elif options.outline is Outline.CLOSE:
        painted = _gaps(colours, rim, colour)
    else:
        painted = _around(colours, there, colour)
    colours, alpha = colours.copy(), alpha.copy()
    colours[painted] = colour
    alpha[painted] = 255
    return colours, alpha


def _gaps(colours: Bytes, rim: Flags, colour: Bytes) -> Flags:
    """Short runs of the rim that have another colour than the outline."""
    other = rim & ~_near_colour(colours, rim, colour)
    runs, _ = ndimage.label(other, _EIGHT)
    sizes = np.bincount(runs.ravel())
    short = sizes <= _GAP
    short[0] = False
    found: Flags = short[runs]
    return found


def _around(colours: Bytes, there: Flags, colour: Bytes) -> Flags:
    """The transparent pixels beside those of the sprite that have another colour than this."""
    other = there & (colours != colour).any(axis=2)
    beside: Flags = ndimage.binary_dilation(other, _FOUR) & ~there
    # A picture without a transparent pixel would be taken for one that is not cut out yet.
    return np.zeros_like(there) if (there | beside).all() else beside


# ---------------------------------------------------------------------------------- helpers


def _apart(one: Floats, other: Floats) -> Floats:
    """OKLab distances of [..., 3]."""
    step = one - other
    distance: Floats = np.sqrt(np.einsum("...i,...i->...", step, step))
    return distance


def _border(array: NDArray[Any]) -> NDArray[Any]:
    """The pixels on the edge of the picture, [2 * W + 2 * H, ...]."""
    return np.concatenate([array[0], array[-1], array[:, 0], array[:, -1]])


def _moved(array: NDArray[Any], down: int, right: int, beyond: Any = 0) -> NDArray[Any]:
    """At each pixel what is `down` rows below and `right` columns to its right; else `beyond`."""
    height, width = array.shape
    moved = np.full_like(array, beyond)
    if abs(down) < height and abs(right) < width:
        to = (
            slice(max(0, -down), height - max(0, down)),
            slice(max(0, -right), width - max(0, right)),
        )
        source = (
            slice(max(0, down), height + min(0, down)),
            slice(max(0, right), width + min(0, right)),
        )
        moved[to] = array[source]
    return moved
