"""Frames on the pages of a sheet, and the same frames on one common canvas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import BadInput
from .arrays import Bytes
from .duplicates import Nearness, aliases, with_shared_pictures
from .frames import Animation, Frame, of_one_set, trimmed, untrimmed
from .packing import Packing, Size, Spot, pack, rows


@dataclass(frozen=True)
class PlacedFrame:
    """Where a frame's picture is: the page, from 0, its top left corner and its size in px.

    Frames with the same picture share a place. The size is the picture's own; where it is rotated,
    it takes its height in width on the page, and its width in height.
    """

    frame: str
    page: int
    x: int
    y: int
    width: int
    height: int
    # by 90 degrees clockwise, as TexturePacker turns: what was the top is on the right
    rotated: bool = False

    @property
    def on_page(self) -> Size:
        """Width and height in px of what it takes on the page."""
        return (self.height, self.width) if self.rotated else (self.width, self.height)


@dataclass(frozen=True, eq=False)
class Sheet:
    """Pages and what is on them: a placement for each frame, in the order of the frames."""

    # each uint8 [H, W, 4]
    pages: tuple[Bytes, ...]
    placements: tuple[PlacedFrame, ...]
    frames: tuple[Frame, ...]
    animations: tuple[Animation, ...]
    # px between two frames, without what is extruded
    padding: int
    # px by which the edge of each frame is repeated around it
    extrude: int
    # whether frames may be rotated; not every engine turns them back
    rotate: bool = False

    @property
    def fill(self) -> float:
        """The share of the pages that frames cover, with what is extruded and the padding."""
        around = 2 * self.extrude + self.padding
        boxes = {(at.page, at.x, at.y, at.width, at.height) for at in self.placements}
        covered = sum((width + around) * (height + around) for *_, width, height in boxes)
        sizes = [page.shape[:2] for page in self.pages]
        return covered / sum(
            (height + self.padding) * (width + self.padding) for height, width in sizes
        )


def packed(
    frames: Sequence[Frame],
    animations: Sequence[Animation] = (),
    *,
    padding: int = 2,
    extrude: int = 1,
    largest: int = 4096,
    power_of_two: bool = False,
    trim: bool = True,
    rotate: bool = False,
    near: Nearness | None = None,
) -> Sheet:
    """A sheet that takes little room: trimmed frames, equal ones once.

    `padding` are the px between frames and `extrude` the px by which the edge of each is repeated,
    0 to 16, so that an engine that blends pixels meets no foreign colour. `largest` is the longest
    side of a page in px; what does not fit on one goes on another. With `rotate` a frame may be
    turned by 90 degrees. With `near` frames that differ by so little have one picture, that of the
    first of them. Raises BadInput for what cannot be packed.
    """
    chosen = _checked(frames, animations, extrude)
    if near is not None:
        shared = with_shared_pictures(chosen, aliases(chosen, near))
        chosen = shared if trim else tuple(untrimmed(frame) for frame in shared)
    if trim:
        chosen = tuple(trimmed(frame) for frame in chosen)
    same: dict[tuple[Size, bytes], int] = {}
    place_of = [same.setdefault(_content(frame.picture), len(same)) for frame in chosen]
    sizes = [size for size, _ in same]
    first = {place: frame.name for place, frame in zip(place_of[::-1], chosen[::-1], strict=True)}
    around = 2 * extrude
    packing = pack(
        [(width + around, height + around) for width, height in sizes],
        padding=padding,
        largest=largest,
        power_of_two=power_of_two,
        turn=rotate,
        names=[first[place] for place in range(len(sizes))],
    )
    spots = tuple(packing.spots[place] for place in place_of)
    made = _drawn(chosen, animations, Packing(spots, packing.pages), padding, extrude)
    return replace(made, rotate=rotate)


def in_grid(
    frames: Sequence[Frame],
    animations: Sequence[Animation] = (),
    *,
    columns: int,
    padding: int = 0,
    extrude: int = 0,
) -> Sheet:
    """A sheet of equal cells, row by row: a cell for each frame, all on one common canvas.

    A cell is as large as the canvas of `on_one_canvas`, its frame is not trimmed. Raises BadInput
    for what cannot be packed.
    """
    chosen = on_one_canvas(_checked(frames, animations, extrude))
    width, height = chosen[0].source
    cell = width + 2 * extrude, height + 2 * extrude
    packing = rows(len(chosen), cell, columns, padding=padding)
    return _drawn(chosen, animations, packing, padding, extrude)


def ground(frame: Frame) -> tuple[float, float]:
    """The frame's ground point: its pivot, or the middle of its lower edge in whole px."""
    return frame.pivot or (float(frame.source[0] // 2), float(frame.source[1]))


def all_animations(sheet: Sheet) -> tuple[Animation, ...]:
    """The animations, and one of its own for each frame that is in none, by the frame's name.

    For formats in which a frame that no animation shows cannot be asked for.
    """
    names = {one.name for one in sheet.animations}
    played = {frame for one in sheet.animations for frame in one.frames}
    single = []
    for frame in sheet.frames:
        if frame.name in played:
            continue
        name = frame.name
        while name in names:
            name += "_"
        names.add(name)
        single.append(Animation(name, (frame.name,), loop=False))
    return (*sheet.animations, *single)


@dataclass(frozen=True)
class CommonCanvas:
    """One size for all frames of a set, with their ground points at one place."""

    size: Size
    # x and y in px that each frame moves by, at least 0, in the order of the frames
    moves: tuple[tuple[int, int], ...]
    # the ground point of the first frame in the canvas; the others' are within a pixel of it
    pivot: tuple[float, float]


def common_canvas(frames: Sequence[Frame]) -> CommonCanvas:
    """The smallest canvas that holds all untrimmed frames, moved by whole pixels.

    For formats that have one size, or one pivot, for all frames. Ground points that lie between
    pixels keep what they have behind the point.
    """
    points = [ground(frame) for frame in frames]
    moves, size = [], []
    for axis in (0, 1):
        most = max(math.floor(point[axis]) for point in points)
        along = [most - math.floor(point[axis]) for point in points]
        along = [move - min(along) for move in along]
        moves.append(along)
        size.append(
            max(move + frame.source[axis] for move, frame in zip(along, frames, strict=True))
        )
    pivot = points[0][0] + moves[0][0], points[0][1] + moves[1][0]
    return CommonCanvas((size[0], size[1]), tuple(zip(*moves, strict=True)), pivot)


def on_one_canvas(frames: Sequence[Frame]) -> tuple[Frame, ...]:
    """The frames untrimmed, each in the `common_canvas`."""
    canvas = common_canvas(frames)
    found = []
    for frame, (x, y) in zip(frames, canvas.moves, strict=True):
        point = ground(frame)
        moved = replace(
            frame,
            source=canvas.size,
            offset=(frame.offset[0] + x, frame.offset[1] + y),
            pivot=(point[0] + x, point[1] + y),
        )
        found.append(untrimmed(moved))
    return tuple(found)


def _checked(
    frames: Sequence[Frame], animations: Sequence[Animation], extrude: int
) -> tuple[Frame, ...]:
    by_name = of_one_set(frames)
    if not 0 <= extrude <= 16:
        raise BadInput(f"The edge of a frame is repeated by 0 to 16 px, not {extrude}.")
    names = set()
    for animation in animations:
        if animation.name in names:
            raise BadInput(f"Two animations have the name {animation.name}.")
        names.add(animation.name)
        for frame in animation.frames:
            if frame not in by_name:
                raise BadInput(
                    f"Animation {animation.name} wants the frame {frame}; there is none."
                )
    return tuple(frames)


def _content(picture: Bytes) -> tuple[Size, bytes]:
    return (picture.shape[1], picture.shape[0]), picture.tobytes()


def _drawn(
    frames: Sequence[Frame],
    animations: Sequence[Animation],
    packing: Packing,
    padding: int,
    extrude: int,
) -> Sheet:
    pages = [np.zeros((height, width, 4), dtype=np.uint8) for width, height in packing.pages]
    placements = []
    drawn: set[Spot] = set()
    for frame, spot in zip(frames, packing.spots, strict=True):
        height, width = frame.picture.shape[:2]
        x, y = spot.x + extrude, spot.y + extrude
        placements.append(PlacedFrame(frame.name, spot.page, x, y, width, height, spot.turned))
        if spot in drawn:
            continue
        drawn.add(spot)
        around = np.pad(
            frame.picture, ((extrude, extrude), (extrude, extrude), (0, 0)), mode="edge"
        )
        if spot.turned:
            around = np.rot90(around, -1)
        tall, wide = around.shape[:2]
        pages[spot.page][spot.y : spot.y + tall, spot.x : spot.x + wide] = around
    return Sheet(
        tuple(pages), tuple(placements), tuple(frames), tuple(animations), padding, extrude
    )
