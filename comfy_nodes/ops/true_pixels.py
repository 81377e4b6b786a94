"""Snapping: from a picture of fake pixels to its true ones, and what was found on the way.

Pictures are uint8 [H, W, C] with C 3 (RGB) or 4 (RGBA), of any size. What is snapped already, or
is pixel art at its true size, comes back as it was: snapping twice changes nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInput
from .arrays import Bytes, Ints
from .cells import Colour, colours, split
from .certainty import DECIDED, LEAST_ODDS, SURE, Evidence, confidence
from .lattice import Axis, Edges, Lattice, differences, edges, planes, search
from .sizes import likely

__all__ = ["Colour", "Snapped", "snap", "snap_sequence"]

LARGEST_SCALE = 64
"""By how much the true pixels may be enlarged, at most."""

_MOST_PIXELS = 2 * 89_478_485
"""Pixels of an enlarged picture, at most; Pillow refuses to read more."""

# Colours from which on a table of all of them is faster.
_MANY = 1 << 18
# A picture with fewer borders than this, on both axes together, shows no grid, and no block.
_FEW = 6
# How sure a common divisor of borders must be to be the pitch: the log of the odds that they all
# lie on it by chance.
_BY_CHANCE = 8.0
# Up to here a picture may well be at its true size, and is left alone unless a grid is sure.
_SMALL = 64
# What only pictures at their true size have, as a part of their clear steps: single pixels that
# stand out from both neighbours, and sharp steps beside each other in different lines (stairs).
# Fake pixels, which are more than two px wide, have next to none of either.
_SPIKES, _STAIRS, _FEWEST_STAIRS = 0.1, 0.004, 4
# From so many times that on no grid is searched for: the noise of a JPEG has single pixels, too.
_CLEARLY = 2.0
# px; sprites are drawn in blocks of 2 or 3 pixels, too, but not of more.
_BLOCKS = 3.5
# px; the larger a picture is, the less likely is it a sprite at its true size.
_LARGE = 320
# A step that is this many times larger than those beside it is sharp.
_SHARP = 5
# Of frames: up to which part of a cell the first border counts as the picture's edge, and by how
# much (a log) two pitches differ that are one.
_WHOLE, _SAME_PITCH = 0.05, 0.05
# Lines that are looked at for that.
_LINES = 256
# Pictures no larger than this are sprites at their true size, even those drawn in blocks of 2x2.
_SPRITE = 24


@dataclass(frozen=True)
class Snapped:
    """True pixels, and what was found.

    `pitch` and `offset` are (x, y) in px of the picture that was given: a cell's width and height,
    and the first borders inside. `width` and `height` are the true size in cells, without `scale`.
    `confidence` is 0 to 1; a result that is not `sure` should be looked at, or be given its size.
    `colours` counts those that are seen; `alpha_binary` says that no pixel is half-transparent.
    `columns` (width + 1) and `rows` (height + 1) are the whole px of the picture that was given
    at which its cells begin, and where the last of them ends.
    """

    picture: Bytes
    pitch: tuple[float, float]
    offset: tuple[float, float]
    width: int
    height: int
    confidence: float
    sure: bool
    colours: int
    alpha_binary: bool
    columns: Ints
    rows: Ints


def snap(
    picture: Bytes,
    *,
    size: tuple[int, int | None] | None = None,
    pitch: float | tuple[float, float] | None = None,
    colour: Colour = Colour.MEDIAN,
    scale: int = 1,
) -> Snapped:
    """The true pixels of one picture; see `snap_sequence`."""
    return snap_sequence([picture], size=size, pitch=pitch, colour=colour, scale=scale)[0]


def snap_sequence(
    frames: Sequence[Bytes],
    *,
    size: tuple[int, int | None] | None = None,
    pitch: float | tuple[float, float] | None = None,
    colour: Colour = Colour.MEDIAN,
    scale: int = 1,
) -> list[Snapped]:
    """The true pixels of the frames of one animation: one pitch, phase and size for all of them.

    `size` is the true width and height in cells where they are known, the height None where it
    follows from the width; `pitch` is the side of a cell in px, or (x, y). `scale` enlarges each
    true pixel by a whole number. A picture in which nothing speaks of a grid comes back unchanged,
    with confidence 0. Raises BadInput where the frames differ in size, or what is given cannot be.
    """
    _check(frames, size, pitch, scale)
    current, found = _snapped(frames, colour, size, pitch)
    if len(frames) > 1 and size is None and pitch is None and found.grid and found.confidence < 1:
        current, found = _voted(frames, colour, current, found)
    enlarged = scale if found.grid or found.confidence > 0 else 1
    return [_result(frame, found, borders, enlarged) for frame, borders in found.of(current)]


def _snapped(
    frames: Sequence[Bytes],
    colour: Colour,
    size: tuple[int, int | None] | None = None,
    pitch: float | tuple[float, float] | None = None,
) -> tuple[list[Bytes], _Found]:
    """The true pixels of frames with one lattice, step by step until there is nothing to do."""
    current = list(frames)
    found = _Found(current)
    while True:
        step = _step(current, size, pitch)
        if step.lattices is None:
            found.end(step.confidence)
            return current, found
        current = _cells(current, step, step.lattices, colour)
        found.add(step)
        if size is not None or pitch is not None:
            return current, found


def _cells(
    frames: list[Bytes], step: _Step, lattices: list[Lattice], colour: Colour
) -> list[Bytes]:
    if step.block is not None:
        across, down = step.block
        return [frame[::down, ::across] for frame in frames]
    return [
        colours(frame, lattice, colour) for frame, lattice in zip(frames, lattices, strict=True)
    ]


class _Found:
    """What the steps of a snap amount to."""

    def __init__(self, frames: list[Bytes]) -> None:
        self.pitch, self.offset = (1.0, 1.0), (0.0, 0.0)
        # Of each frame on x and y: where the cells so far begin and end, in px.
        self._borders: list[tuple[NDArray[np.float64], ...]] = [
            tuple(np.arange(length + 1.0) for length in frame.shape[1::-1]) for frame in frames
        ]
        self.confidence = 1.0
        self.grid = False

    def add(self, step: _Step) -> None:
        """One more step: its px are the cells of the ones before."""
        self.offset = (
            self.offset[0] + self.pitch[0] * step.offset[0],
            self.offset[1] + self.pitch[1] * step.offset[1],
        )
        self.pitch = (self.pitch[0] * step.pitch[0], self.pitch[1] * step.pitch[1])
        self.confidence = min(self.confidence, step.confidence)
        self.grid = True
        for index, own in enumerate(self._borders):
            self._borders[index] = tuple(
                np.interp(step.borders(index, axis, len(one) - 1), np.arange(len(one)), one)
                for axis, one in enumerate(own)
            )

    def join(self, other: _Found) -> None:
        """Take the frames of another in, which has the same pitch and phase."""
        self._borders += other._borders

    def of(self, frames: list[Bytes]) -> Iterator[tuple[Bytes, list[Ints]]]:
        """Each frame with the whole px of the first picture where its cells begin, on x and y."""
        for frame, own in zip(frames, self._borders, strict=True):
            yield frame, [np.rint(one).astype(np.int64) for one in own]

    def end(self, confidence: float) -> None:
        """No more steps; a picture without any is as sure as that it is at its true size."""
        if not self.grid:
            self.confidence = confidence


@dataclass(frozen=True)
class _Step:
    """A lattice for each frame, none for `block` (x, y): copies are taken away, no more."""

    # None where there is nothing to do
    lattices: list[Lattice] | None
    confidence: float
    pitch: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    block: tuple[int, int] | None = None

    def borders(self, frame: int, axis: int, length: int) -> NDArray[np.float64]:
        """The borders of a frame's cells on one axis (0 is x) of that length, in px."""
        if self.block is not None:
            return np.arange(0.0, length + 1.0, self.block[axis])
        assert self.lattices is not None
        lattice = self.lattices[frame]
        borders = np.clip((lattice.x, lattice.y)[axis].borders, 0.0, length)
        borders[[0, -1]] = 0.0, length
        return borders


def _step(
    frames: list[Bytes],
    size: tuple[int, int | None] | None,
    pitch: float | tuple[float, float] | None,
) -> _Step:
    height, width = frames[0].shape[:2]
    if size is not None and size[0] == width and size[1] in (None, height):
        return _Step(None, 1.0)
    borders = _exact_borders(frames)
    true = 0.0
    if size is None and pitch is None:
        if max(width, height) <= _SPRITE:
            return _Step(None, 1.0)
        count = sum(map(len, borders))
        if count < _FEW:
            return _Step(None, 0.0)
        step = _blocks(borders, (width, height)) or _cut_blocks(borders, (width, height), frames)
        if step is not None:
            return step
        strength = _true_size(frames)
        if strength >= 1:
            true = min(1.0, strength / _CLEARLY) * min(1.0, _LARGE / max(width, height))
        if strength >= _CLEARLY:
            return _Step(None, true)
    elif size is not None:
        step = _sized_blocks(borders, (width, height), size)
        if step is not None:
            return step
    seen = [_edges(frame) for frame in frames]
    both = (pitch, pitch) if isinstance(pitch, (int, float)) else pitch
    lattices = search(seen, size or (None, None), both)
    if lattices is None:
        return _Step(None, true)
    if size is not None or pitch is not None:
        return _aligned(lattices, Evidence(lattices[0].margin), (width, height))
    step = _aligned(*_likeliest(frames, seen, lattices), (width, height))
    small = max(width, height) <= _SMALL
    if (
        step.confidence == 0  # nothing speaks of a grid, as in a gradient
        or (step.confidence < SURE and (true or small))
        or (true and min(step.pitch) < _BLOCKS)
    ):
        return _Step(None, true)
    return step


def _likeliest(
    frames: list[Bytes], seen: list[tuple[Edges, Edges]], lattices: list[Lattice]
) -> tuple[list[Lattice], Evidence]:
    """The lattices with the size that is likeliest over all ways, and what speaks for it.

    Where cells drift, the cheapest way may have a cell too many or too few. Where they do not, the
    search knows better.
    """
    first, margin, summed = lattices[0], lattices[0].margin, False
    if margin >= DECIDED and not first.drifts:
        return lattices, Evidence(margin, split=_split(frames, lattices))
    across, down, logs = likely(seen, (first.x.pitch, first.y.pitch))
    i, j = np.unravel_index(int(logs.argmax()), logs.shape)
    own = (across == first.x.cells)[:, None] & (down == first.y.cells)[None, :]
    if first.drifts and not own[i, j]:
        found = search(seen, (int(across[i]), int(down[j])))
        if found is not None:
            lattices, margin, summed = found, 0.0, True
            own[...] = False
            own[i, j] = True
    odds = LEAST_ODDS
    if own.any():
        odds = float(logs[own][0] - np.logaddexp.reduce(logs[~own], axis=None))
    return lattices, Evidence(margin, odds, summed, _split(frames, lattices))


def _split(frames: list[Bytes], lattices: list[Lattice]) -> float:
    return max(split(frame, one) for frame, one in zip(frames, lattices, strict=True))


def _edges(frame: Bytes) -> tuple[Edges, Edges]:
    channels = planes(frame)
    return edges(channels), edges(np.ascontiguousarray(channels.transpose(0, 2, 1)))


# -------------------------------------------------------------------------- exact pictures


def _exact_borders(frames: list[Bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where any line of any frame changes at all, on x and y, in px."""
    columns: NDArray[np.bool_] | None = None
    rows: NDArray[np.bool_] | None = None
    for frame in frames:
        channels = np.ascontiguousarray(frame.transpose(2, 0, 1))
        across = (channels[:, :, 1:] != channels[:, :, :-1]).any(axis=(0, 1))
        down = (channels[:, 1:] != channels[:, :-1]).any(axis=(0, 2))
        columns = across if columns is None else columns | across
        rows = down if rows is None else rows | down
    assert columns is not None
    assert rows is not None
    return np.flatnonzero(columns) + 1, np.flatnonzero(rows) + 1


def _blocks(
    borders: tuple[NDArray[np.int64], NDArray[np.int64]], lengths: tuple[int, int]
) -> _Step | None:
    """The picture in square blocks of one colour each, from its corner to its end: nothing is lost.

    That is what an enlarged result is, so that it must be found again however simple it is.
    """
    block = int(np.gcd.reduce(np.concatenate([*borders, np.array(lengths)])))
    return None if block < 2 else _in_blocks(borders, (block, block))


def _sized_blocks(
    borders: tuple[NDArray[np.int64], NDArray[np.int64]],
    lengths: tuple[int, int],
    size: tuple[int, int | None],
) -> _Step | None:
    """The same for a known size."""
    across = lengths[0] // size[0]
    down = across if size[1] is None else lengths[1] // size[1]
    if across < 1 or down < 1 or lengths[0] % across or lengths[1] % down:
        return None
    if lengths[0] // across != size[0] or (borders[0] % across).any() or (borders[1] % down).any():
        return None
    return _in_blocks(borders, (across, down))


def _in_blocks(
    borders: tuple[NDArray[np.int64], NDArray[np.int64]], block: tuple[int, int]
) -> _Step:
    doubt = sum(len(own) * math.log(side) for own, side in zip(borders, block, strict=True))
    confidence = min(1.0, doubt / _BY_CHANCE)
    return _Step([], confidence, (float(block[0]), float(block[1])), (0.0, 0.0), block)


def _cut_blocks(
    borders: tuple[NDArray[np.int64], NDArray[np.int64]],
    lengths: tuple[int, int],
    frames: list[Bytes],
) -> _Step | None:
    """Such blocks where the picture's edges cut the first and the last."""
    apart = np.concatenate([np.diff(own) for own in borders])
    if not len(apart):
        return None
    block = int(np.gcd.reduce(apart))
    if block < 2 or len(apart) * math.log(block) < _BY_CHANCE:
        return None
    axes = []
    for own, length in zip(borders, lengths, strict=True):
        first = int(own[0]) % block if len(own) else 0
        start = first - block if first else 0
        axes.append(Axis(float(block), np.arange(start, length + block, block, dtype=float)))
    lattice = Lattice(axes[0], axes[1], 0.0, False, 1.0)
    return _Step(
        [lattice] * len(frames),
        1.0,
        (float(block), float(block)),
        (lattice.x.offset, lattice.y.offset),
    )


def _true_size(frames: list[Bytes]) -> float:
    """How strongly single pixels say that pictures are at their true size; from 1 on they do."""
    alone = every = stairs = clear = 0
    for frame in frames:
        channels = planes(frame)
        for turned in (channels, channels.transpose(0, 2, 1)):
            lines = turned[:, :: max(1, turned.shape[1] // _LINES)]
            if lines.shape[2] < 3:
                continue
            spiked, stepped = _spikes(lines)
            alone, every = alone + spiked, every + stepped
            beside, counted = _stairs(lines)
            stairs, clear = stairs + beside, clear + counted
    spiky = alone / every if every else 0.0
    stairy = stairs / clear if stairs >= _FEWEST_STAIRS else 0.0
    return max(spiky / _SPIKES, stairy / _STAIRS)


def _spikes(lines: Bytes) -> tuple[int, int]:
    """Of uint8 [C, L, N]: the steps up and down again at single pixels, and all clear steps."""
    steps = np.diff(lines.sum(axis=0, dtype=np.int16), axis=1)
    sizes = np.abs(steps)
    clear = np.maximum(sizes - (min(int(np.median(sizes[::2, ::2])), 24) + 6), 0)
    opposed = (steps[:, 1:] ^ steps[:, :-1]) < 0
    alone = (np.minimum(clear[:, 1:], clear[:, :-1]) * opposed).sum(dtype=np.int64)
    return int(alone), int(clear.sum(dtype=np.int64))


def _stairs(lines: Bytes) -> tuple[int, int]:
    """Of uint8 [C, L, N]: sharp steps at neighbouring places, and how many steps are clear."""
    apart = differences(lines).astype(np.int32)
    clear = apart > 3 * int(np.median(apart[::2, ::2])) + 24
    padded = np.pad(apart, ((0, 0), (1, 1))) * _SHARP
    sharp = clear & (padded[:, :-2] < apart) & (padded[:, 2:] < apart)
    counts = sharp.sum(axis=0)
    return int(np.minimum(counts[1:], counts[:-1]).sum()), int(clear.sum())


# ------------------------------------------------------------------------------ sequences


def _of_size(
    frames: Sequence[Bytes], colour: Colour, size: tuple[int, int]
) -> tuple[list[Bytes], _Found]:
    """Frames snapped to one size; each with its own borders, where no edge cuts a cell."""
    own = [_snapped([frame], colour, size) for frame in frames]
    if any(max(alone.offset) >= _WHOLE * min(alone.pitch) for _, alone in own):
        return _snapped(frames, colour, size)
    found = own[0][1]
    found.offset = (0.0, 0.0)
    for _, alone in own[1:]:
        found.join(alone)
    return [one[0] for one, _ in own], found


def _voted(
    frames: Sequence[Bytes], colour: Colour, current: list[Bytes], found: _Found
) -> tuple[list[Bytes], _Found]:
    """What was found in all frames together, unless most of them show another size by themselves.

    Together they add up what they show, and also what misleads: noise behind a small sprite, and
    the widths of cells that drift, of which a common pitch makes one too many or too few.
    """
    own = [_snapped([frame], colour) for frame in frames]
    sizes = Counter(
        one[0].shape[1::-1] for one, alone in own if max(alone.offset) < _WHOLE * min(alone.pitch)
    )
    best, votes = sizes.most_common(1)[0] if sizes else (None, 0)
    if best is not None and 2 * votes > len(frames):
        if best != current[0].shape[1::-1]:
            current, found = _of_size(frames, colour, best)
            found.confidence = votes / len(frames)
        return current, found
    apart = np.abs(np.log([alone.pitch for _, alone in own]) - np.log(found.pitch)).max(axis=1)
    found.confidence = min(found.confidence, float((apart < _SAME_PITCH).mean()))
    return current, found


def _aligned(lattices: list[Lattice], evidence: Evidence, lengths: tuple[int, int]) -> _Step:
    """The lattices of the frames with one pitch, phase and size."""
    x, pitch_x, offset_x = _one_phase([one.x for one in lattices], lengths[0])
    y, pitch_y, offset_y = _one_phase([one.y for one in lattices], lengths[1])
    whole = [
        Lattice(own_x, own_y, one.margin, one.drifts, one.seen)
        for own_x, own_y, one in zip(x, y, lattices, strict=True)
    ]
    return _Step(whole, confidence(lattices, evidence), (pitch_x, pitch_y), (offset_x, offset_y))


def _one_phase(axes: list[Axis], length: int) -> tuple[list[Axis], float, float]:
    """The axes over the same cells, their pitch, and the first border inside.

    A frame keeps its own borders, in which its colours are pure, and its cells are numbered on the
    common lattice: that moves a sprite by half a cell at most, and none to and fro.
    """
    pitch = float(np.median([axis.pitch for axis in axes]))
    offset = float(np.median([axis.offset for axis in axes]))
    if len({axis.cells for axis in axes}) == 1 and max(axis.offset for axis in axes) < 0.25:
        return axes, pitch, 0.0
    if len(axes) == 1:
        return axes, pitch, offset
    whole = [
        axis.cells
        for axis in axes
        if axis.offset < 0.25 and abs(float(axis.borders[-1]) - length) < 0.25
    ]
    if 2 * len(whole) >= len(axes):
        # Frames that drift differ by a cell in their margins, where nothing is to be seen.
        cells = int(np.median(whole))
        pitch, offset, start = length / cells, 0.0, 0.0
    else:
        turns = np.exp(2j * np.pi * np.array([axis.offset for axis in axes]) / pitch)
        offset = float(np.angle(turns.sum()) / (2 * np.pi) * pitch % pitch)
        if min(offset, pitch - offset) < 0.05 * pitch:
            offset = 0.0
        start = offset - pitch if offset else 0.0
        cells = max(1, math.ceil((length - start) / pitch - 0.05))
    common = start + pitch * np.arange(cells + 1)
    moved = []
    for axis in axes:
        own = np.arange(len(axis.borders))
        shift = int(np.rint(np.median((axis.borders - start) / pitch - own)))
        index = np.arange(cells + 1) - shift
        borders = np.interp(index, own, axis.borders)
        borders += pitch * (np.minimum(index, 0) + np.maximum(index - own[-1], 0))
        moved.append(Axis(pitch, np.where(np.isfinite(borders), borders, common)))
    return moved, pitch, offset


# -------------------------------------------------------------------------------- the rest


def _check(
    frames: Sequence[Bytes],
    size: tuple[int, int | None] | None,
    pitch: float | tuple[float, float] | None,
    scale: int,
) -> None:
    if not frames:
        raise BadInput("There is no picture to snap.")
    for frame in frames:
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] not in (3, 4):
            raise BadInput("Expected pictures as bytes of shape [H, W, 3 or 4].")
        if 0 in frame.shape:
            raise BadInput("A picture without pixels cannot be snapped.")
        if frame.shape[:2] != frames[0].shape[:2]:
            (own, first) = (f"{one.shape[1]}x{one.shape[0]}" for one in (frame, frames[0]))
            raise BadInput(
                f"The frames of a sequence must have one size: one is {own}, the first {first}."
            )
    height, width = frames[0].shape[:2]
    if size is not None and pitch is not None:
        raise BadInput("Give the size or the pitch: each follows from the other.")
    if size is not None:
        for wanted, there, name in ((size[0], width, "wide"), (size[1], height, "high")):
            if wanted is not None and not 1 <= wanted <= there:
                raise BadInput(
                    f"A picture {there} pixels {name} has 1 to {there} true pixels there, "
                    f"not {wanted}."
                )
    if pitch is not None:
        for side in (pitch,) if isinstance(pitch, (int, float)) else pitch:
            if not 1 <= side <= max(width, height):
                raise BadInput(
                    f"The pitch is 1 to {max(width, height)} pixels in a picture of "
                    f"{width}x{height}, not {side:g}."
                )
    if not 1 <= scale <= LARGEST_SCALE:
        raise BadInput(f"The scale is a whole number of 1 to {LARGEST_SCALE}, not {scale}.")


def _result(picture: Bytes, found: _Found, borders: list[Ints], scale: int) -> Snapped:
    height, width = picture.shape[:2]
    if width * height * scale * scale > _MOST_PIXELS:
        raise BadInput(
            f"Enlarged by {scale}, the {width}x{height} true pixels are more than "
            f"{_MOST_PIXELS:,} pixels."
        )
    count, binary = counted(picture)
    enlarged = np.ascontiguousarray(picture.repeat(scale, axis=0).repeat(scale, axis=1))
    return Snapped(
        picture=enlarged,
        pitch=found.pitch,
        offset=found.offset,
        width=width,
        height=height,
        confidence=found.confidence,
        sure=found.confidence >= SURE,
        colours=count,
        alpha_binary=binary,
        columns=borders[0],
        rows=borders[1],
    )


def counted(picture: Bytes) -> tuple[int, bool]:
    """How many colours are seen, and whether each pixel is there or is not, none half."""
    packed = np.zeros(picture.shape[:2], dtype=np.uint32)
    for channel in range(3):
        packed = packed << np.uint32(8) | picture[..., channel]
    if picture.shape[2] == 3:
        return _distinct(packed.ravel()), True
    alpha = picture[..., 3]
    return _distinct(packed[alpha > 0]), bool(((alpha == 0) | (alpha == 255)).all())


def _distinct(colours: NDArray[np.uint32]) -> int:
    """How many numbers below 2^24 there are; of many, a table is faster than sorting them."""
    if colours.size < _MANY:
        return len(np.unique(colours))
    there = np.zeros(1 << 24, dtype=bool)
    there[colours] = True
    return int(np.count_nonzero(there))
