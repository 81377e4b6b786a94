"""Aligning frames that lie in files, and showing them; what `spriteworks frames` does."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from comfy_nodes.errors import BadInput
from comfy_nodes.formats import apng as apng_format
from comfy_nodes.formats import gif as gif_format
from comfy_nodes.ops.alignment import Alignment, Pivot, align
from comfy_nodes.ops.duplicates import aliases
from comfy_nodes.ops.frames import Animation, Direction, Frame, played

from ..errors import InputError, UsageError
from .files import Names, animations_in, named, read_picture, targets_in, write_file, write_picture

Choice = TypeVar("Choice", bound=Enum)
Looked = Callable[[int, int], None]
_SECOND = 1000


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
class Shown:
    """An animated picture that was written."""

    saved: Path
    # of each frame that it shows, in ms, as the format holds them
    durations: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Shape for programs."""
        return {"saved": str(self.saved), "durations": list(self.durations)}


@dataclass(frozen=True, kw_only=True)
class AlignedFrames:
    """Frames on one canvas."""

    frames: tuple[AlignedFile, ...]
    # width and height in px
    canvas: tuple[int, int]
    # in px from the canvas's left and top
    pivot: tuple[int, int]
    # GIFs and APNGs
    animated: tuple[Shown, ...] = ()

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
    """The files of one animation, where they go, and the folder for its animated pictures."""

    name: str
    files: list[Path]
    targets: list[Path]
    out: Path


def align_frames(
    pictures: Names,
    out: str | os.PathLike[str],
    *,
    pivot: str = Pivot.GROUND.value,
    keep_height: bool = False,
    one_scale: bool = False,
    margin: int = 0,
    canvas: tuple[int, int] | None = None,
    fps: float | None = None,
    duration: int | None = None,
    direction: str = Direction.FORWARD.value,
    loop: bool = True,
    gif: str | None = None,
    apng: str | None = None,
    looked: Looked | None = None,
) -> AlignedFrames:
    """Move frames so that the sprite stands at one place of one canvas in all of them.

    Each folder in `pictures` is one animation, its pictures in order, and so are the files that are
    named by themselves; all get one canvas. The frames are NAME.png in the folder `out`, of several
    animations in a folder of theirs in it. `pivot` is "ground" or "centre"; `keep_height` leaves
    each frame at its height, for jumps; `one_scale` refuses a frame that is more than a tenth
    higher or lower than the others. `margin` is in px, `canvas` a width and height; without it the
    smallest is taken. A frame is shown for `duration` ms or a part of a second by `fps`, else for
    100 ms; `direction` is "forward", "reverse", "pingpong" or "pingpong_reverse". `gif` and `apng`
    are names of files that show each animation, beside its frames. `looked` is called with how many
    pictures were read, and of how many.

    Raises UsageError, InputError where a picture cannot be read or aligned, before anything is
    written, and OutputError where a result cannot be.
    """
    way = _one_of(Direction, "direction", direction)
    held = _one_of(Pivot, "pivot", pivot)
    groups = _groups(named(pictures), Path(out), [name for name in (gif, apng) if name])
    _check_name(gif, ".gif")
    _check_name(apng, ".png")
    sets = _read(groups, _durations(fps, duration), looked)
    try:
        aligned = align(
            sets,
            pivot=held,
            keep_height=keep_height,
            one_scale=one_scale,
            margin=margin,
            canvas=canvas,
        )
        shown = _shown(groups, aligned, way, loop, gif, apng)
    except BadInput as error:
        raise InputError(str(error)) from error
    frames = _files(groups, aligned)
    for frame, file in zip(_every(aligned), frames, strict=True):
        write_picture(frame.picture, file.saved)
    for one, content in shown:
        write_file(content, one.saved)
    return AlignedFrames(
        frames=frames,
        canvas=aligned.canvas,
        pivot=aligned.pivot,
        animated=tuple(one for one, _ in shown),
    )


def _one_of(kind: type[Choice], what: str, name: str) -> Choice:
    try:
        return kind(name)
    except ValueError:
        known = ", ".join(str(one.value) for one in kind)
        raise UsageError(f"there is no {what} {name!r}; there are {known}") from None


def _check_name(name: str | None, suffix: str) -> None:
    if name is None:
        return
    if Path(name).name != name or "\\" in name or Path(name).suffix.casefold() != suffix:
        raise UsageError(f"{name!r} is no name of a {suffix} file; it lies beside the frames")


def _durations(fps: float | None, duration: int | None) -> Callable[[int], int]:
    """From a frame's number in its animation to its ms; by `fps` their sums are right."""
    if fps is not None and duration is not None:
        raise UsageError("give --fps or --duration, not both")
    if fps is None:
        wanted = 100 if duration is None else duration
        if wanted < 1:
            raise UsageError(f"a frame is not shown for {wanted} ms; give 1 or more")
        return lambda _: wanted
    if not 0 < fps <= _SECOND:
        raise UsageError(f"there are no {fps:g} frames a second; give more than 0, at most 1000")
    return lambda index: round((index + 1) * _SECOND / fps) - round(index * _SECOND / fps)


def _groups(inputs: Sequence[Path], out: Path, animated: Sequence[str]) -> list[_Group]:
    """Raises UsageError where two results would share a name, or one would replace an input."""
    found = animations_in(inputs)
    groups: dict[str, _Group] = {}
    for place, files in found:
        name = place.resolve().name if place.is_dir() and len(found) > 1 else ""
        folder = out / name if name else out
        targets = targets_in(files, folder)
        other = groups.get(name.casefold())
        if other is not None:
            raise UsageError(
                f"{other.files[0].parent} and {place} would both go to {folder}; rename one of them"
            )
        taken = {target.name.casefold(): target for target in targets}
        for one in animated:
            if one.casefold() in taken:
                raise UsageError(f"{folder / one} is one of the frames; give it another name")
            taken[one.casefold()] = folder / one
        groups[name.casefold()] = _Group(name, files, targets, folder)
    return list(groups.values())


def _read(
    groups: Sequence[_Group], duration: Callable[[int], int], looked: Looked | None
) -> list[list[Frame]]:
    total, done = sum(len(group.files) for group in groups), 0
    sets = []
    for group in groups:
        frames = []
        for index, file in enumerate(group.files):
            picture = read_picture(file)
            frames.append(Frame.whole(str(file), picture, duration=duration(index)))
            done += 1
            if looked is not None:
                looked(done, total)
        sets.append(frames)
    return sets


def _every(aligned: Alignment) -> list[Frame]:
    return [frame for frames in aligned.animations for frame in frames]


def _shown(
    groups: Sequence[_Group],
    aligned: Alignment,
    direction: Direction,
    loop: bool,
    gif: str | None,
    apng: str | None,
) -> list[tuple[Shown, bytes]]:
    """The animated pictures that are asked for, and their bytes. Raises BadInput."""
    made = []
    for group, frames in zip(groups, aligned.animations, strict=True):
        names = tuple(frame.name for frame in frames)
        order = played(Animation(group.name or "frames", names, direction, loop), frames)
        if gif is not None:
            told = Shown(saved=group.out / gif, durations=gif_format.durations(order))
            made.append((told, gif_format.write(order, loop)))
        if apng is not None:
            exact = tuple(frame.duration for frame in order)
            told = Shown(saved=group.out / apng, durations=exact)
            made.append((told, apng_format.write(order, loop)))
    return made


def _files(groups: Sequence[_Group], aligned: Alignment) -> tuple[AlignedFile, ...]:
    same = aliases(_every(aligned))
    targets = [target for group in groups for target in group.targets]
    return tuple(
        AlignedFile(
            file=Path(frame.name),
            saved=target,
            moved=aligned.moved[frame.name],
            reduced=aligned.reduced.get(frame.name, 1),
            duration=frame.duration,
            same_as=Path(same[frame.name]) if frame.name in same else None,
        )
        for frame, target in zip(_every(aligned), targets, strict=True)
    )
