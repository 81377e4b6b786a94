"""The frames of an animation, trimmed and whole, and the order in which they are played."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInput
from .arrays import Bytes

# an array or a tensor, which this module does not know
Pictures = TypeVar("Pictures")


class Direction(str, Enum):
    """How an animation runs over its frames; the words are Aseprite's."""

    FORWARD = "forward"
    REVERSE = "reverse"
    PINGPONG = "pingpong"  # there and back; the first and last frame are shown once a round
    PINGPONG_REVERSE = "pingpong_reverse"  # the same, from the last frame on


def equal_cells(pictures: Pictures, columns: int, rows: int) -> Pictures:
    """The cells of pictures [B, H, W, C], row by row.

    They are [B * rows * columns, H / rows, W / columns, C].

    Raises BadInput where height or width is no multiple of that.
    """
    whole: Any = pictures
    _, height, width, channels = whole.shape
    for side, name, count in ((width, "width", columns), (height, "height", rows)):
        if count < 1 or side % count:
            raise BadInput(
                f"The picture's {name} of {side} px is no multiple of {count}: say how many cells "
                "there are, or crop what is around them."
            )
    shape = (-1, rows, height // rows, columns, width // columns, channels)
    cells = whole.reshape(shape).swapaxes(2, 3).reshape(-1, shape[2], shape[4], channels)
    return cast(Pictures, cells)


def side_by_side(picture: Bytes, count: int) -> list[Bytes]:
    """The frames of a picture that is a row of `count` of one width; [H, W, C] each, in order.

    Raises BadInput where its width is no multiple of that.
    """
    return [np.ascontiguousarray(one) for one in equal_cells(picture[None], count, 1)]


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of an animation, trimmed or whole. Raises BadInput where the parts do not fit."""

    # unique in its set
    name: str
    # uint8 [H, W, 4]
    picture: Bytes
    # width and height, in px, of the untrimmed frame
    source: tuple[int, int]
    # x, y of the picture's top left pixel in the untrimmed frame
    offset: tuple[int, int] = (0, 0)
    # the ground point, in px of the untrimmed frame: x from the left, y from the top; (0, 0) is the
    # corner of the first pixel, not its middle
    pivot: tuple[float, float] | None = None
    # how long it is shown, in ms
    duration: int = 100

    def __post_init__(self) -> None:
        shape = self.picture.shape
        if self.picture.dtype != np.uint8 or len(shape) != 3 or shape[2] != 4 or 0 in shape:
            raise BadInput(f"Frame {self.name}: expected a picture as bytes of shape [H, W, 4].")
        (x, y), (width, height) = self.offset, self.source
        if min(x, y) < 0 or x + shape[1] > width or y + shape[0] > height:
            raise BadInput(
                f"Frame {self.name}: a picture of {shape[1]}x{shape[0]} at {x},{y} is not inside "
                f"of {width}x{height}."
            )
        if self.duration < 1:
            raise BadInput(f"Frame {self.name}: a duration of {self.duration} ms shows nothing.")

    @classmethod
    def whole(
        cls,
        name: str,
        picture: Bytes,
        pivot: tuple[float, float] | None = None,
        duration: int = 100,
    ) -> Frame:
        """An untrimmed frame of a picture, uint8 [H, W, 3 or 4]; without alpha all is opaque."""
        return cls(
            name,
            with_opacity(picture),
            (picture.shape[1], picture.shape[0]),
            (0, 0),
            pivot,
            duration,
        )

    @property
    def is_whole(self) -> bool:
        """Whether nothing is trimmed away."""
        return (self.picture.shape[1], self.picture.shape[0]) == self.source


@dataclass(frozen=True)
class Animation:
    """Frames in order, by their names. Raises BadInput where there is none."""

    name: str
    frames: tuple[str, ...]
    direction: Direction = Direction.FORWARD
    # whether it begins again at its end
    loop: bool = True

    def __post_init__(self) -> None:
        if not self.frames:
            raise BadInput(f"Animation {self.name} has no frames.")

    @property
    def played(self) -> tuple[str, ...]:
        """The frames of one round as they are shown, for formats that know only forward."""
        there = self.frames
        if self.direction in (Direction.REVERSE, Direction.PINGPONG_REVERSE):
            there = there[::-1]
        if self.direction in (Direction.PINGPONG, Direction.PINGPONG_REVERSE):
            return there + there[-2:0:-1]
        return there


def with_opacity(picture: Bytes) -> Bytes:
    """uint8 [H, W, 4] of uint8 [H, W, 3 or 4]; without alpha all is opaque."""
    if picture.ndim == 3 and picture.shape[2] == 3:
        opaque = np.full((*picture.shape[:2], 1), 255, dtype=np.uint8)
        return np.concatenate([picture, opaque], axis=2)
    return picture


def without_hidden(picture: Bytes) -> Bytes:
    """The picture, uint8 [H, W, 4], where a pixel of alpha 0 has no colour, either."""
    return np.where(picture[..., 3:] > 0, picture, np.uint8(0))


def trimmed(frame: Frame, keep_hidden: bool = False) -> Frame:
    """The frame cut to what can be seen (alpha 1 or more), with its place in the whole kept.

    Colours under alpha 0 are lost, so `untrimmed` gives `without_hidden` of the picture back, byte
    for byte. With `keep_hidden` nothing is lost: the cut goes around every pixel that is not all
    zeros, and `untrimmed` gives the very picture back. A frame without any such pixel keeps one.
    """
    picture = frame.picture if keep_hidden else without_hidden(frame.picture)
    there: NDArray[np.bool_] = (picture != 0).any(axis=2)
    rows, columns = np.flatnonzero(there.any(axis=1)), np.flatnonzero(there.any(axis=0))
    if not len(rows):
        rows = columns = np.zeros(1, dtype=np.intp)
    cut = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    offset = frame.offset[0] + int(columns[0]), frame.offset[1] + int(rows[0])
    return replace(frame, picture=np.ascontiguousarray(cut), offset=offset)


def untrimmed(frame: Frame) -> Frame:
    """The whole frame: what was trimmed away is (0, 0, 0, 0)."""
    (x, y), (width, height) = frame.offset, frame.source
    whole = np.zeros((height, width, 4), dtype=np.uint8)
    whole[y : y + frame.picture.shape[0], x : x + frame.picture.shape[1]] = frame.picture
    return replace(frame, picture=whole, offset=(0, 0))


def played(animation: Animation, frames: Sequence[Frame]) -> tuple[Frame, ...]:
    """The whole frames of one round of an animation, as they are shown. Raises BadInput."""
    by_name = of_one_set(frames)
    missing = [name for name in animation.frames if name not in by_name]
    if missing:
        raise BadInput(f"Animation {animation.name} has no frame {missing[0]}.")
    return tuple(untrimmed(by_name[name]) for name in animation.played)


def of_one_set(frames: Sequence[Frame]) -> dict[str, Frame]:
    """The frames by their names. Raises BadInput where there is none, or two share a name."""
    if not frames:
        raise BadInput("There are no frames.")
    by_name: dict[str, Frame] = {}
    for frame in frames:
        if by_name.setdefault(frame.name, frame) is not frame:
            raise BadInput(f"Two frames have the name {frame.name}.")
    return by_name
