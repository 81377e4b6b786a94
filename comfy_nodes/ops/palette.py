"""Palettes: reading them, finding one, and repainting a picture with it.

Pictures are uint8 [H, W, C], palettes uint8 [N, 3]. All repainting is idempotent: a colour of the
palette stays as it is.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInput
from .color import Floats, hex_color, oklab, pack, unpack
from .pictures import Bytes

LARGEST = 256
"""Most colours a palette can have."""

_ROUNDS = 12  # of k-means; more change no colour that is seen

_MANY = 32768  # colours, from which on shades of them are taken together

_CHUNK = 16384  # points at a time: with 256 colours their distances take 32 MiB

# Threshold matrix of ordered dithering, B. E. Bayer, 1973; made open at both ends so that a
# colour of the palette is never moved.
_BAYER = (
    np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], dtype=np.float64) + 0.5
) / 16.0


def parse_palette(text: str) -> Bytes | None:
    """The palette in a list of hex colours like "#1a2b3c, fff"; None when the text is empty.

    Commas, semicolons, spaces and new lines separate; "#" is optional. Doubles are dropped.
    Raises BadInput, naming the first part that is no colour, and for more than 256 colours.
    """
    parts = re.split(r"[\s,;]+", text.strip())
    if parts == [""]:
        return None
    colors = np.array([_parse_color(part) for part in parts if part], dtype=np.uint8)
    _, first = np.unique(pack(colors), return_index=True)
    palette: Bytes = colors[np.sort(first)]
    if len(palette) > LARGEST:
        raise BadInput(f"The palette has {len(palette)} colours; at most {LARGEST} can be used.")
    return palette


def _parse_color(part: str) -> tuple[int, int, int]:
    digits = part.removeprefix("#")
    if re.fullmatch(r"[0-9a-fA-F]{3}", digits):
        digits = "".join(2 * digit for digit in digits)
    # A second "#" was never part of a colour.
    color = None if digits.startswith("#") else hex_color(digits)
    if color is None:
        raise BadInput(
            f"{part!r} in the palette is no colour: write hex colours like #1a2b3c, one after "
            "another."
        )
    return color


def find_palette(picture: Bytes, count: int) -> Bytes:
    """At most `count` colours of the picture that stand for all of it.

    K-means in OKLab weighted by how often a colour occurs, started from the colours that are
    farthest apart; each centre gives its nearest colour that the picture really has. A picture
    with no more than `count` colours gives exactly those.
    """
    packed, occurrences = np.unique(pack(picture[..., :3]), return_counts=True)
    if len(packed) <= count:
        return unpack(packed)
    packed, occurrences = _shades(packed, occurrences)
    points, weights = oklab(unpack(packed)), occurrences.astype(np.float64)
    centers = _spread(points, weights, count)
    for _ in range(_ROUNDS):
        owner = _nearest(points, centers)
        mass = np.bincount(owner, weights=weights, minlength=count)
        moved = np.stack(
            [np.bincount(owner, weights=weights * points[:, i], minlength=count) for i in range(3)],
            axis=1,
        )
        centers = np.where(mass[:, None] > 0, moved / np.maximum(mass, 1e-12)[:, None], centers)
    return unpack(np.unique(packed[_nearest(centers, points)]))


def _shades(
    packed: NDArray[np.int64], occurrences: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of very many colours the commonest of each shade, with how often the shade occurs.

    A shade is a cube of 8 steps a channel. A generated picture of 1024x1024 can have hundreds of
    thousands of colours, and k-means visits each of them many times.
    """
    if len(packed) <= _MANY:
        return packed, occurrences
    _, shade = np.unique(pack(unpack(packed) >> 3), return_inverse=True)
    order = np.lexsort((-occurrences, shade))
    first = np.concatenate([[True], shade[order][1:] != shade[order][:-1]])
    total = np.bincount(shade, weights=occurrences).astype(np.int64)
    return packed[order][first], total


def _spread(points: Floats, weights: Floats, count: int) -> Floats:
    """Start centres: the most common colour, then again and again the worst served one.

    Served badly means far from every centre and frequent; without chance, so that the same
    picture always gets the same palette.
    """
    chosen = [int(weights.argmax())]
    distance = np.full(len(points), np.inf)
    for _ in range(count - 1):
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int((distance * weights).argmax()))
    return points[chosen]


def repaint(picture: Bytes, palette: Bytes, *, dither: bool = False) -> Bytes:
    """The picture in the colours of the palette; a fourth channel is kept.

    Without dithering each pixel gets the nearest colour in OKLab. With it, pixels between two
    colours are set in a 4x4 pattern of both.
    """
    packed, inverse = np.unique(pack(picture[..., :3]), return_inverse=True)
    points, colors = oklab(unpack(packed)), oklab(palette)
    first = _nearest(points, colors)
    choice = first[inverse].reshape(picture.shape[:2])
    if dither and len(palette) > 1:
        second, towards = _second(points, colors, first)
        tiles = (picture.shape[0] // 4 + 1, picture.shape[1] // 4 + 1)
        threshold = np.tile(_BAYER, tiles)[: picture.shape[0], : picture.shape[1]]
        over = towards[inverse].reshape(picture.shape[:2]) > threshold
        choice = np.where(over, second[inverse].reshape(picture.shape[:2]), choice)
    result = picture.copy()
    result[..., :3] = palette[choice]
    return result


def _nearest(points: Floats, colors: Floats) -> NDArray[np.int64]:
    """Index of the nearest colour of each point; in chunks, as all distances can be gigabytes."""
    chunks = [
        _ranks(points[i : i + _CHUNK], colors).argmin(axis=1) for i in range(0, len(points), _CHUNK)
    ]
    return np.concatenate(chunks)


def _ranks(points: Floats, colors: Floats) -> Floats:
    """Squared distances [points, colors] less each point's own square, which no ranking needs."""
    ranks: Floats = (colors**2).sum(axis=1) - 2.0 * (points @ colors.T)
    return ranks


def _second(
    points: Floats, colors: Floats, first: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Floats]:
    """The colour on the other side of each point, and how far towards it the point lies (0..0.5).

    The other side is the second nearest colour; the part is the projection on the line between
    the two, 0 for a point that is a colour of the palette.
    """
    second = np.empty_like(first)
    for i in range(0, len(points), _CHUNK):
        ranks = _ranks(points[i : i + _CHUNK], colors)
        ranks[np.arange(len(ranks)), first[i : i + _CHUNK]] = np.inf
        second[i : i + _CHUNK] = ranks.argmin(axis=1)
    line = colors[second] - colors[first]
    length = np.maximum((line**2).sum(axis=1), 1e-12)
    towards: Floats = ((points - colors[first]) * line).sum(axis=1) / length
    return second, towards
