"""Palettes: reading them, finding one, repainting a picture with it, and changing its ramps.

Pictures are uint8 [H, W, C] with C 3 or 4, palettes uint8 [N, 3]. Distances are Euclidean in OKLab
(B. Ottosson, 2020). All repainting is idempotent: a colour of the palette stays as it is. Every
result is the same to the byte on any number of threads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..errors import BadInput
from .arrays import Bytes, Floats, Ints
from .color import hex_color, oklab, pack, unpack

LARGEST = 256
"""Most colours a palette can have that is found or typed in."""

_ROUNDS = 12  # of k-means; more change no colour that is seen

_MANY = 32768  # colours, from which on shades of them are taken together

_CHUNK = 4096  # points at a time, so that what is worked on stays in the processor's cache

_TREE = 64  # colours, from which on a tree is faster than all distances

_WAITING = 4_000_000  # colours of single pictures that are kept before they are added up

_GREY = 0.03  # OKLab chroma, below which a colour is grey to the eye and its hue means nothing

_HUE_GAP = 40.0  # degrees between neighbours in hue, from which on they are of two ramps

_HUE_SPAN = 70.0  # degrees that a ramp can span; shading turns the hue, but not from red to green

# What hues in OKLab are called, each up to that many degrees; half-way between the colours of those
# names in CSS Color 4.
_HUE_NAMES = (
    (15.0, "pink"),
    (45.0, "red"),
    (90.0, "orange"),
    (118.0, "yellow"),
    (175.0, "green"),
    (225.0, "cyan"),
    (285.0, "blue"),
    (335.0, "purple"),
    (360.0, "pink"),
)

_BROWN = 0.6  # mean lightness, below which an orange is a brown


class Dither(str, Enum):
    """How colours that the palette lacks are shown as a mixture of those that it has.

    none: each pixel gets the nearest colour. bayer-2, bayer-4, bayer-8: a regular pattern of the
    two colours on both sides, 2, 4 or 8 pixels wide (B. E. Bayer, 1973). floyd-steinberg: what a
    pixel is off is handed on to its neighbours (R. W. Floyd, L. Steinberg, 1976).
    """

    NONE = "none"
    BAYER_2 = "bayer-2"
    BAYER_4 = "bayer-4"
    BAYER_8 = "bayer-8"
    FLOYD_STEINBERG = "floyd-steinberg"


_BAYER = {Dither.BAYER_2: 2, Dither.BAYER_4: 4, Dither.BAYER_8: 8}


def parse_palette(text: str) -> Bytes | None:
    """The palette in a list of hex colours like "#1a2b3c, fff"; None when the text is empty.

    Commas, semicolons, spaces and new lines separate; "#" is optional. Doubles are dropped.
    Raises BadInput, naming the first part that is no colour, and for more than 256 colours.
    """
    parts = re.split(r"[\s,;]+", text.strip())
    if parts == [""]:
        return None
    colors = np.array([_parse_color(part) for part in parts if part], dtype=np.uint8)
    palette = _distinct(colors)
    if len(palette) > LARGEST:
        raise BadInput(f"The palette has {len(palette)} colours; at most {LARGEST} can be used.")
    return palette


def _distinct(colors: Bytes) -> Bytes:
    """The colours in their order, each where it is first."""
    _, first = np.unique(pack(colors), return_index=True)
    return colors[np.sort(first)]


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
    with no more than `count` colours gives exactly those. Transparent pixels count as well.
    """
    packed, occurrences = np.unique(pack(picture[..., :3]), return_counts=True)
    return _clusters(packed, occurrences, count)


def shared_palette(pictures: Iterable[Bytes], count: int) -> Bytes:
    """At most `count` colours, 1 to 256, that stand for all the pictures, of any sizes, together.

    As `find_palette` for one: a colour weighs as many pixels as it has in all of them, so that
    their order changes nothing, and pictures that have no more than `count` colours in all give
    exactly those. Wholly transparent pixels do not count. The pictures are taken one after
    another and not kept. Raises BadInput for another count, and where no pixel can be seen.
    """
    if not 1 <= count <= LARGEST:
        raise BadInput(f"A palette of {count} colours cannot be made; 1 to {LARGEST} can.")
    packed, occurrences = _tally(pictures)
    if not len(packed):
        raise BadInput("There is no palette to be found: no picture has a pixel that can be seen.")
    return _clusters(packed, occurrences, count)


def visible_colors(pictures: Iterable[Bytes]) -> Bytes:
    """All colours of the pictures, each once, in the order of their numbers: uint8 [N, 3].

    Those of wholly transparent pixels do not count. The pictures are taken one after another.
    """
    return unpack(_tally(pictures)[0])


def _tally(pictures: Iterable[Bytes]) -> tuple[Ints, Ints]:
    """The visible colours of all the pictures, sorted, and how many pixels each of them has."""
    totals: tuple[Ints, Ints] = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    waiting, size = [totals], 0
    for picture in pictures:
        packed, counts = np.unique(pack(picture)[visible(picture)], return_counts=True)
        waiting.append((packed, counts.astype(np.int64)))
        size += len(packed)
        if size > _WAITING:
            waiting, size = [_added(waiting)], 0
    return _added(waiting)


def _added(tallies: list[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    packed, place = np.unique(np.concatenate([one for one, _ in tallies]), return_inverse=True)
    counts = np.concatenate([one for _, one in tallies])
    # Floats add up whole numbers exactly, as long as there are fewer than 2**53 pixels.
    total = np.bincount(place, weights=counts, minlength=len(packed))
    return packed, total.astype(np.int64)


def visible(picture: Bytes) -> NDArray[np.bool_]:
    """Where a picture is not wholly transparent: [H, W]."""
    if picture.shape[-1] == 3:
        return np.ones(picture.shape[:2], dtype=np.bool_)
    seen: NDArray[np.bool_] = picture[..., 3] > 0
    return seen


def _clusters(packed: Ints, occurrences: Ints, count: int) -> Bytes:
    """At most `count` of the colours, found by k-means weighted by their occurrences."""
    if len(packed) <= count:
        return unpack(packed)
    packed, occurrences = _shades(packed, occurrences)
    points, weights = oklab(unpack(packed)), occurrences.astype(np.float64)
    centers = _spread(points, weights, count)
    for _ in range(_ROUNDS):
        owner = _owners(points, centers)
        mass = np.bincount(owner, weights=weights, minlength=count)
        moved = np.stack(
            [np.bincount(owner, weights=weights * points[:, i], minlength=count) for i in range(3)],
            axis=1,
        )
        centers = np.where(mass[:, None] > 0, moved / np.maximum(mass, 1e-12)[:, None], centers)
    return unpack(np.unique(packed[_owners(centers, points)]))


def _owners(points: Floats, centers: Floats) -> Ints:
    """Index of the nearest centre of each point; in chunks, as all distances can be gigabytes.

    Distances are taken without each point's own square, which no ranking needs. `_nearest` rounds
    in another way: where two are equally near it may take the other, and would change palettes
    that are found today.
    """
    squares = (centers**2).sum(axis=1)
    chunks = [
        (squares - 2.0 * (points[i : i + _CHUNK] @ centers.T)).argmin(axis=1)
        for i in range(0, len(points), _CHUNK)
    ]
    return np.concatenate(chunks)


def _shades(packed: Ints, occurrences: Ints) -> tuple[Ints, Ints]:
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


def repaint(picture: Bytes, palette: Bytes, *, dither: Dither | bool = Dither.NONE) -> Bytes:
    """The picture in the colours of the palette, at least one; a fourth channel is kept.

    Without dithering each pixel gets the nearest colour in OKLab, of equally near ones always the
    same. `True` is Bayer's pattern of 4x4. With Floyd-Steinberg what is wholly transparent hands
    nothing on, so that hidden colours do not show in what can be seen.
    """
    if isinstance(dither, bool):
        dither = Dither.BAYER_4 if dither else Dither.NONE
    dither = Dither(dither)  # a value as a node gets it is as good as the member
    palette = _distinct(palette)
    packed, inverse = np.unique(pack(picture), return_inverse=True)
    points, colors = oklab(unpack(packed)), oklab(palette)
    place = inverse.reshape(picture.shape[:2])
    if dither is Dither.FLOYD_STEINBERG and len(palette) > 1:
        choice = _diffuse(points[place], visible(picture), colors)
    else:
        first = _nearest(points, colors)
        choice = first[place]
        if dither in _BAYER and len(palette) > 1:
            second, towards = _second(points, colors, first)
            over = towards[place] > _thresholds(_BAYER[dither], picture.shape[0], picture.shape[1])
            choice = np.where(over, second[place], choice)
    result = picture.copy()
    result[..., :3] = palette[choice]
    return result


def paint(picture: Bytes, palette: Bytes, *, dither: Dither | bool = Dither.NONE) -> Bytes:
    """`repaint`, with colour (0, 0, 0) where a pixel is wholly transparent.

    Whoever counts the colours of the result then finds none that nobody sees, of the palette or
    not.
    """
    result = repaint(picture, palette, dither=dither)
    if picture.shape[-1] == 4:
        result[..., :3][result[..., 3] == 0] = 0
    return result


def _thresholds(side: int, height: int, width: int) -> Floats:
    """Bayer's matrix of that side, a power of two, repeated over [height, width].

    Each next matrix is the last one four times, spread and shifted. It is made open at both ends, 0
    and 1, so that a colour of the palette is never moved.
    """
    matrix = np.zeros((1, 1), dtype=np.int64)
    while len(matrix) < side:
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    tiles = (height // side + 1, width // side + 1)
    thresholds: Floats = np.tile((matrix + 0.5) / side**2, tiles)[:height, :width]
    return thresholds


def _nearest(points: Floats, colors: Floats, but: Ints | None = None) -> Ints:
    """Index of the nearest colour of each point, of equally near ones always the same.

    `but`: for each point the index of a colour that does not count. Sums are written out: a matrix
    product may round in another way at the edge of an array, and give one colour two answers.
    """
    if len(points) > len(colors) > _TREE:
        found = cKDTree(colors).query(points, k=1 if but is None else 2)[1]
        if but is None:
            return np.asarray(found, dtype=np.int64)
        return np.where(found[:, 0] == but, found[:, 1], found[:, 0]).astype(np.int64)
    owner = np.zeros(len(points), dtype=np.int64)
    if len(points) <= len(colors):
        planes = np.ascontiguousarray(colors.T)
        for i, point in enumerate(points):
            distance = _squares(planes, point)
            if but is not None:
                distance[but[i]] = np.inf
            owner[i] = distance.argmin()
        return owner
    for start in range(0, len(points), _CHUNK):
        part = slice(start, start + _CHUNK)
        planes = np.ascontiguousarray(points[part].T)
        least = np.full(planes.shape[1], np.inf)
        for index, color in enumerate(colors):
            distance = _squares(planes, color)
            if but is not None:
                distance[but[part] == index] = np.inf
            owner[part][distance < least] = index
            np.minimum(least, distance, out=least)
    return owner


def _squares(planes: Floats, color: Floats) -> Floats:
    """Squared distances [N] of the points in `planes` [3, N] from one colour."""
    total: Floats = np.square(planes[0] - color[0])
    for plane, value in zip(planes[1:], color[1:], strict=True):
        difference = plane - value
        difference *= difference
        total += difference
    return total


def _second(points: Floats, colors: Floats, first: Ints) -> tuple[Ints, Floats]:
    """The colour on the other side of each point, and how far towards it the point lies (0..0.5).

    The other side is the second nearest colour; the part is the projection on the line between
    the two, 0 for a point that is a colour of the palette.
    """
    second = _nearest(points, colors, but=first)
    line = colors[second] - colors[first]
    length = np.maximum((line**2).sum(axis=1), 1e-12)
    towards: Floats = ((points - colors[first]) * line).sum(axis=1) / length
    return second, towards


def _diffuse(points: Floats, seen: NDArray[np.bool_], colors: Floats) -> Ints:
    """Indices [H, W] of colours for points [H, W, 3], by Floyd and Steinberg's error diffusion.

    A pixel waits for its left neighbour and for three above it. So all with the same x + 2 y can
    be done at once, one such step after another: the result is that of going row by row.
    """
    height, width = seen.shape
    planes = np.ascontiguousarray(points.reshape(-1, 3).T)
    hands_on = seen.ravel().astype(np.float64)
    targets = np.ascontiguousarray(colors.T)
    # Errors that no colour of the palette can make good add up without end, and smear over what
    # comes after. So no point leaves the box around the palette.
    low, high = targets.min(axis=1)[:, None], targets.max(axis=1)[:, None]
    find = _Finder(targets)
    choice = np.zeros(height * width, dtype=np.int64)
    # What each row is owed at this step and at the three after it, which the pixels reach.
    owed = np.zeros((4, 3, height + 1))
    for step in range(width + 2 * (height - 1)):
        top, bottom = max(0, (step - width + 2) // 2), min(height, step // 2 + 1)
        if top < bottom:
            at = step + (width - 2) * np.arange(top, bottom)
            wanted = np.clip(planes[:, at] + owed[step % 4, :, top:bottom], low, high)
            found = find(wanted)
            choice[at] = found
            error = (wanted - targets[:, found]) * (hands_on[at] / 16.0)
            owed[(step + 1) % 4, :, top:bottom] += 7.0 * error
            owed[(step + 1) % 4, :, top + 1 : bottom + 1] += 3.0 * error
            owed[(step + 2) % 4, :, top + 1 : bottom + 1] += 5.0 * error
            owed[(step + 3) % 4, :, top + 1 : bottom + 1] += error
        # Also what was meant for pixels beyond the edges.
        owed[step % 4] = 0.0
    return choice.reshape(height, width)


class _Finder:
    """Nearest colours of few points [3, N], asked for again and again."""

    def __init__(self, targets: Floats) -> None:
        self._targets = targets[:, :, None]
        self._tree = cKDTree(targets.T) if targets.shape[1] > _TREE else None

    def __call__(self, wanted: Floats) -> Ints:
        if self._tree is not None:
            return np.asarray(self._tree.query(wanted.T)[1], dtype=np.int64)
        distance = np.square(wanted[0] - self._targets[0])
        distance += np.square(wanted[1] - self._targets[1])
        distance += np.square(wanted[2] - self._targets[2])
        return np.asarray(distance.argmin(axis=0), dtype=np.int64)


def ramps(palette: Bytes) -> list[Bytes]:
    """The palette's colours as ramps: of one hue each, from dark to light, none twice.

    First the greys, then the ramps in the order of their hues in OKLab (red about 30 degrees, green
    140, blue 260). A ramp ends where the next hue is more than 40 degrees away, and is parted at
    its widest gap where it would span more than 70.
    """
    palette = _distinct(palette)
    lab = oklab(palette)
    grey = np.hypot(lab[:, 1], lab[:, 2]) < _GREY
    hue = np.degrees(np.arctan2(lab[:, 2], lab[:, 1])) % 360.0
    groups = [np.flatnonzero(grey), *_hue_groups(np.flatnonzero(~grey), hue)]
    return [_by_lightness(palette[group]) for group in groups if len(group)]


def named_ramps(palette: Bytes) -> dict[str, Bytes]:
    """The palette's `ramps` by names that people can write: "grey", "red", "blue", "blue-2", ...

    A name is that of the ramp's mean hue, of which strong colours count more; the second ramp of a
    name is numbered.
    """
    named: dict[str, Bytes] = {}
    for ramp in ramps(palette):
        name = _hue_name(oklab(ramp))
        count = sum(key.partition("-")[0] == name for key in named)
        named[f"{name}-{count + 1}" if count else name] = ramp
    return named


def _hue_name(lab: Floats) -> str:
    if (np.hypot(lab[:, 1], lab[:, 2]) < _GREY).all():
        return "grey"
    _, a, b = lab.sum(axis=0)
    hue = float(np.degrees(np.arctan2(b, a)) % 360.0)
    name = next(name for end, name in _HUE_NAMES if hue < end)
    return "brown" if name == "orange" and lab[:, 0].mean() < _BROWN else name


def _hue_groups(members: Ints, hue: Floats) -> list[Ints]:
    """The members, indices into `hue` in degrees, parted where neighbours are far apart."""
    if not len(members):
        return []
    members = members[np.argsort(hue[members], kind="stable")]
    # The circle of hues is opened at its widest gap, where no ramp goes over it.
    gaps = (np.roll(hue[members], -1) - hue[members]) % 360.0
    members = np.roll(members, -1 - int(gaps.argmax()))
    done, waiting = [], [members]
    while waiting:
        group = waiting.pop()
        steps = np.diff(hue[group]) % 360.0
        if len(steps) and (steps.max() > _HUE_GAP or steps.sum() > _HUE_SPAN):
            cut = int(steps.argmax()) + 1
            waiting += [group[:cut], group[cut:]]
        else:
            done.append(group)
    return sorted(done, key=lambda group: float(hue[group[0]]))


def _by_lightness(colors: Bytes) -> Bytes:
    """The colours from dark to light; equally light ones in the order of their numbers."""
    return colors[np.lexsort((pack(colors), oklab(colors)[:, 0]))]


def ramp_onto(source: Bytes, target: Bytes) -> Bytes:
    """For each colour of the source ramp, in its order, the colour of the target ramp: [N, 3].

    By rank of lightness: the darkest becomes the darkest, the lightest the lightest, and between
    them ranks are scaled where the ramps differ in length. A ramp of one colour gives the target's
    middle one. For `recolor`. Raises BadInput for a ramp without colours.
    """
    if not len(source) or not len(target):
        raise BadInput("A ramp without colours can neither be changed nor take another's place.")
    ordered = _by_lightness(_distinct(source))
    goal = _by_lightness(_distinct(target))
    last = len(ordered) - 1
    # Halves are rounded down, in whole numbers.
    ranks = (
        (2 * np.arange(last + 1) * (len(goal) - 1) + last - 1) // (2 * last)
        if last
        else np.array([(len(goal) - 1) // 2])
    )
    order = np.argsort(pack(ordered))
    rank = ranks[order[np.searchsorted(pack(ordered)[order], pack(source))]]
    return goal[rank]


def recolor(picture: Bytes, source: Bytes, target: Bytes) -> Bytes:
    """The picture with each colour of `source` [N, 3] replaced by that of `target` [N, 3].

    All at once, so that two colours can change places. Other colours and a fourth channel are kept,
    and so is what is wholly transparent, whose colour nobody sees.
    Raises BadInput where the two are not equally long, or one colour is to become two others.
    """
    mapping = check_recolor(source, target)
    packed, inverse = np.unique(pack(picture), return_inverse=True)
    old_ones = np.array(list(mapping), dtype=np.int64)
    new_ones = np.array(list(mapping.values()), dtype=np.int64)
    place = np.searchsorted(packed, old_ones)
    there = np.append(packed, -1)[place] == old_ones
    replaced = packed.copy()
    replaced[place[there]] = new_ones[there]
    result, seen = picture.copy(), visible(picture)
    result[seen, :3] = unpack(replaced)[inverse.reshape(seen.shape)[seen]]
    return result


def check_recolor(source: Bytes, target: Bytes) -> dict[int, int]:
    """What each colour becomes, by their numbers 0xRRGGBB; for `recolor`, before any picture.

    Raises BadInput as `recolor` does.
    """
    if len(source) != len(target):
        raise BadInput(
            f"{len(source)} colours cannot be replaced by {len(target)}: each needs one other."
        )
    mapping: dict[int, int] = {}
    for old, new in zip(pack(source).tolist(), pack(target).tolist(), strict=True):
        if mapping.setdefault(old, new) != new:
            raise BadInput(
                f"The colour #{old:06x} cannot become #{mapping[old]:06x} and #{new:06x} at once."
            )
    return mapping
