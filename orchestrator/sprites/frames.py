"""Aligning frames that lie in files, and showing them; what `spriteworks frames` does."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import repeat
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from comfy_nodes.errors import BadInput
from comfy_nodes.ops.alignment import Alignment, Pivot, align
from comfy_nodes.ops.duplicates import aliases
from comfy_nodes.ops.frames import Animation, Direction, Frame, played, side_by_side

from ..errors import InputError, UsageError
from .animated import AnimatedFile, a_gif, an_apng, animated_targets, durations_by
from .files import Names, animations_in, named, read_picture, targets_in, write_file, write_picture

Choice = TypeVar("Choice", bound=Enum)
Looked = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class AlignedFile:
    """What became of one frame."""

    file: Path
    saved: Path
    # how far it was from its animation's usual place, x and y in px
    moved: tuple[int, int] = (0, 0)
    # by what it was made smaller; 1: not at all
    reduced: int = 1
    # in ms
    duration: int = 100
    # the earlier frame that shows the very same pixels
    same_as: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Shape for programs."""
        return {
            "file": str(self.file),
            "saved": str(self.saved),
            "moved": list(self.moved),
            "reduced": self.reduced,
            "duration": self.duration,
            "same_as": None if self.same_as is None else str(self.same_as),
        }


@dataclass(frozen=True, kw_only=True)
class AlignedFrames:
    """Frames on one canvas."""

    frames: tuple[AlignedFile, ...]
    # width and height in px
    canvas: tuple[int, int]
    # in px from the canvas's left and top
    pivot: tuple[int, int]
    # GIFs and APNGs
    animated: tuple[AnimatedFile, ...] = ()

    @property
    def saved(self) -> list[Path]:
        """All files that were written."""
        return [*(one.saved for one in self.frames), *(one.saved for one in self.animated)]

    def to_json(self) -> dict[str, Any]:
        """Shape for programs."""
        return {
            "canvas": list(self.canvas),
            "pivot": list(self.pivot),
            "frames": [one.to_json() for one in self.frames],
            "animated": [one.to_json() for one in self.animated],
        }


@dataclass(frozen=True)
class _Group:
    """The frames of one animation: the files that they are in, and where they go.

    Those that are named by themselves have no name. Of a row of frames each has the same file.
    """

    name: str
    files: list[Path]
    targets: list[Path]
    is_row: bool = False

    @property
    def names(self) -> list[str]:
        """What tells its frames apart, in messages, too."""
        return [str(path) for path in (self.targets if self.is_row else self.files)]


def align_frames(
    pictures: Names,
    out: str | os.PathLike[str],
    *,
    frames: int = 1,
    pivot: str = Pivot.GROUND.value,
    keep_height: bool = False,
    one_scale: bool = False,
    margin: int = 0,
    canvas: tuple[int, int] | None = None,
    fps: float | None = None,
    duration: int | None = None,
    direction: str = Direction.FORWARD.value,
    loop: bool = True,
    gif: str | os.PathLike[str] | None = None,
    apng: str | os.PathLike[str] | None = None,
    looked: Looked | None = None,
) -> AlignedFrames:
    """Move frames so that the sprite stands at one place of one canvas in all of them.

    Each folder in `pictures` is one animation, its pictures in order, and so are the files that are
    named by themselves; all get one canvas. The frames are NAME.png in the folder `out`, of several
    animations in a folder of theirs in it. With `frames` each picture is a row of so many, side by
    side, and one animation: its frames are NAME_1.png, NAME_2.png, ...

    `pivot` is "ground", "centre" or "box", the middle of the lower edge of each frame's own box,
    for icons; `keep_height` leaves each frame at its height, for jumps; `one_scale` refuses a frame
    that is more than a tenth higher or lower than the others. `margin` is in px, `canvas` a width
    and height; without it the smallest is taken. A frame is shown for `duration` ms or a part of a
    second by `fps`, else for 100 ms; `direction` is "forward", "reverse", "pingpong" or
    "pingpong_reverse". `gif` and `apng` are files that show the animation; of several, each has its
    name in the file's. `looked` is called with how many pictures were read, and of how many.

    Raises UsageError, InputError where a picture cannot be read or aligned, before anything is
    written, and OutputError where a result cannot be.
    """
    way = _one_of(Direction, "direction", direction)
    held = _one_of(Pivot, "pivot", pivot)
    shown_for = durations_by(fps, duration)
    if frames < 1:
        raise UsageError(f"a picture is no row of {frames} frames; give 1 or more")
    groups = _groups(named(pictures), Path(out), frames)
    taken = [path for group in groups for path in (*group.files, *group.targets)]
    names = [group.name for group in groups]
    gifs = animated_targets(None if gif is None else Path(gif), ".gif", names, taken)
    apngs = animated_targets(None if apng is None else Path(apng), ".png", names, taken)
    sets = _read(groups, shown_for, looked)
    try:
        aligned = align(
            sets,
            pivot=held,
            keep_height=keep_height,
            one_scale=one_scale,
            margin=margin,
            canvas=canvas,
        )
        orders = [_order(animation, way) for animation in aligned.animations]
        shown = [a_gif(*one) for one in zip(orders, repeat(loop), gifs)]
        shown += [an_apng(*one) for one in zip(orders, repeat(loop), apngs)]
    except BadInput as error:
        raise InputError(str(error)) from error
    files = _files(groups, aligned)
    for frame, file in zip(_every(aligned), files, strict=True):
        write_picture(frame.picture, file.saved)
    for one, content in shown:
        write_file(content, one.saved)
    return AlignedFrames(
        frames=files,
        canvas=aligned.canvas,
        pivot=aligned.pivot,
        animated=tuple(one for one, _ in shown),
    )


def align_in_place(
    animations: Sequence[Sequence[Path]],
    *,
    pivot: Pivot,
    keep_height: bool = False,
    margin: int = 0,
    canvas: tuple[int, int] | None = None,
) -> Alignment:
    """Align the frames of animations, and put each in the place of its file.

    Names in the result are those of the files. Raises InputError, before anything is written, where
    one cannot be read or aligned, and OutputError where one cannot be written.
    """
    sets = [[Frame.whole(str(file), read_picture(file)) for file in files] for files in animations]
    try:
        aligned = align(sets, pivot=pivot, keep_height=keep_height, margin=margin, canvas=canvas)
    except BadInput as error:
        raise InputError(str(error)) from error
    for frame in _every(aligned):
        write_picture(frame.picture, Path(frame.name))
    return aligned


def cut_apart(file: Path, count: int) -> list[Path]:
    """Write the frames of a picture that is a row of them as 1.png, 2.png, ...

    They go into a folder of the picture's name. Raises InputError where it cannot be read, or is no
    such row, and OutputError.
    """
    frames = _pictures(file, count)
    targets = frames_of(file, count)
    for frame, target in zip(frames, targets, strict=True):
        write_picture(frame, target)
    return targets


def frames_of(file: Path, count: int) -> list[Path]:
    """Where the frames of a row go."""
    return [file.with_suffix("") / f"{number}.png" for number in range(1, count + 1)]


def _one_of(kind: type[Choice], what: str, name: str) -> Choice:
    try:
        return kind(name)
    except ValueError:
        known = ", ".join(str(one.value) for one in kind)
        raise UsageError(f"there is no {what} {name!r}; there are {known}") from None


def _groups(inputs: Sequence[Path], out: Path, frames: int) -> list[_Group]:
    """Raises UsageError where two results would share a name, or one would replace an input."""
    found = animations_in(inputs)
    if frames > 1:
        return _told_apart(_rows([file for _, files in found for file in files], out, frames), out)
    groups = []
    for place, files in found:
        name = place.resolve().name if place.is_dir() and len(found) > 1 else ""
        groups.append(_Group(name, files, targets_in(files, out / name if name else out)))
    return _told_apart(groups, out)


def _rows(files: Sequence[Path], out: Path, frames: int) -> list[_Group]:
    groups = []
    for file in files:
        name = file.stem if len(files) > 1 else ""
        folder = out / name if name else out
        targets_in([], folder)
        targets = [folder / f"{file.stem}_{number}.png" for number in range(1, frames + 1)]
        for target in targets:
            if target.exists() and any(target.samefile(one) for one in files):
                raise UsageError(
                    f"{target} is one of the pictures to read, and a frame of {file} would take "
                    "its place; give another --out"
                )
        groups.append(_Group(name, [file] * frames, targets, is_row=True))
    return groups


def _told_apart(groups: Sequence[_Group], out: Path) -> list[_Group]:
    """The same groups. Raises UsageError where two would go to one folder."""
    seen: dict[str, _Group] = {}
    for group in groups:
        other = seen.setdefault(group.name.casefold(), group)
        if other is not group:
            mine, yours = (one.files[0].parent for one in (group, other))
            raise UsageError(
                f"{yours} and {mine} would both go to {out / group.name}; rename one of them"
            )
    return list(groups)


def _read(
    groups: Sequence[_Group], duration: Callable[[int], int], looked: Looked | None
) -> list[list[Frame]]:
    total, done = sum(len(set(group.files)) for group in groups), 0
    sets = []
    for group in groups:
        pictures: list[NDArray[np.uint8]] = []
        for file in dict.fromkeys(group.files):
            pictures += _pictures(file, len(group.files) if group.is_row else 1)
            done += 1
            if looked is not None:
                looked(done, total)
        named_pictures = enumerate(zip(group.names, pictures, strict=True))
        sets.append(
            [
                Frame.whole(name, picture, duration=duration(index))
                for index, (name, picture) in named_pictures
            ]
        )
    return sets


def _pictures(file: Path, count: int) -> list[NDArray[np.uint8]]:
    """The frames of a file. Raises InputError where it is no row of so many."""
    try:
        return side_by_side(read_picture(file), count)
    except BadInput as error:
        raise InputError(f"{file}: {error}") from error


def _every(aligned: Alignment) -> list[Frame]:
    return [frame for frames in aligned.animations for frame in frames]


def _order(frames: Sequence[Frame], direction: Direction) -> tuple[Frame, ...]:
    """The frames of one round as they are shown."""
    names = tuple(frame.name for frame in frames)
    return played(Animation("frames", names, direction), frames)


def _files(groups: Sequence[_Group], aligned: Alignment) -> tuple[AlignedFile, ...]:
    same = aliases(_every(aligned))
    places = [pair for group in groups for pair in zip(group.files, group.targets, strict=True)]
    return tuple(
        AlignedFile(
            file=file,
            saved=target,
            moved=aligned.moved[frame.name],
            reduced=aligned.reduced.get(frame.name, 1),
            duration=frame.duration,
            same_as=Path(same[frame.name]) if frame.name in same else None,
        )
        for frame, (file, target) in zip(_every(aligned), places, strict=True)
    )
