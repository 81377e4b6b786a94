"""Frames that look alike, so that a sheet holds their picture once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInput
from .arrays import Bytes, Floats
from .color import oklab
from .frames import Frame, of_one_set, trimmed, untrimmed

_FEW_ROWS = 8
"""One of so many rows is looked at before all are."""


@dataclass(frozen=True)
class Nearness:
    """How much two frames taken for one may differ. Raises BadInput outside of 0 to 1."""

    # of the pixels that either of them shows, so many may differ
    share: float = 0.0
    # a pixel differs where its colour is farther than this, in OKLab, or its alpha by as much of 1
    distance: float = 0.02

    def __post_init__(self) -> None:
        for name, value in (("share", self.share), ("distance", self.distance)):
            if not 0 <= value <= 1:
                raise BadInput(f"The {name} in which frames may differ is 0 to 1, not {value:g}.")


def aliases(frames: Sequence[Frame], near: Nearness | None = None) -> dict[str, str]:
    """The frames that show what an earlier one shows: their names, with the earlier one's.

    What counts are the pixels that can be seen, trimmed: the same picture at another place of its
    frame is the same. With `near` frames count, too, that differ by little at the same place; each
    is compared with those that are kept, so that many small steps do not add up. Raises BadInput
    where there are no frames, or names are not unique.
    """
    of_one_set(frames)
    found: dict[str, str] = {}
    exact: dict[bytes, str] = {}
    kept: dict[tuple[int, int], list[_Seen]] = {}
    for frame in map(trimmed, frames):
        digest = _digest(frame.picture)
        like = exact.get(digest)
        if like is None and near is not None:
            seen = _Seen.of(frame)
            others = kept.setdefault(frame.source, [])
            like = next((other.name for other in others if seen.is_near(other, near)), None)
            if like is None:
                others.append(seen)
        if like is None:
            exact[digest] = frame.name
        else:
            found[frame.name] = like
    return found


def with_shared_pictures(frames: Sequence[Frame], shared: Mapping[str, str]) -> tuple[Frame, ...]:
    """The frames trimmed, where each of `shared` has the very picture of the one it is named with.

    A frame that shows the same elsewhere keeps its own place; one that is only near takes the
    other's, with which it was compared.
    """
    by_name = {name: trimmed(frame) for name, frame in of_one_set(frames).items()}
    return tuple(
        _sharing(by_name[frame.name], by_name[shared.get(frame.name, frame.name)])
        for frame in frames
    )


def _sharing(frame: Frame, kept: Frame) -> Frame:
    same = np.array_equal(frame.picture, kept.picture)
    return replace(frame, picture=kept.picture, offset=frame.offset if same else kept.offset)


def _digest(picture: Bytes) -> bytes:
    return sha256(repr(picture.shape).encode() + picture.tobytes()).digest()


@dataclass(frozen=True, eq=False)
class _Seen:
    """A whole frame as it is compared: alpha 0 to 1, and OKLab times alpha."""

    name: str
    alpha: Floats
    color: Floats

    @classmethod
    def of(cls, frame: Frame) -> _Seen:
        whole = untrimmed(frame).picture
        alpha = whole[..., 3] / 255.0
        return cls(frame.name, alpha, oklab(whole[..., :3]) * alpha[..., None])

    def is_near(self, other: _Seen, near: Nearness) -> bool:
        shown = np.count_nonzero((self.alpha > 0) | (other.alpha > 0))
        # most frames are far from each other, which a few of the rows show
        return all(
            self._differing(other, near, step) <= near.share * shown for step in (_FEW_ROWS, 1)
        )

    def _differing(self, other: _Seen, near: Nearness, step: int) -> int:
        """How many pixels of each `step`th row differ."""
        alpha = self.alpha[::step] - other.alpha[::step]
        color = self.color[::step] - other.color[::step]
        differs: NDArray[np.bool_] = np.abs(alpha) > near.distance
        differs |= (color**2).sum(axis=-1) > near.distance**2
        return int(np.count_nonzero(differs))
