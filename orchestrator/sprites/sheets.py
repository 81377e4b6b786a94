"""From pictures to a sheet and the files that engines read; what `spriteworks sheet` does."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from comfy_nodes.errors import BadInput
from comfy_nodes.formats.sheets import FORMATS, check_takes_rotated, write
from comfy_nodes.formats.sheets.files import Files
from comfy_nodes.ops.duplicates import Nearness
from comfy_nodes.ops.frames import Animation, Direction, Frame, trimmed
from comfy_nodes.ops.sheet import Sheet, in_grid, packed

from ..client.client import writing
from ..errors import OutputError, UsageError
from .files import Names, named, natural, pictures_in, read_picture
from .parsing import Pivot, is_name, point_of


@dataclass(frozen=True, kw_only=True)
class MadeSheet:
    """A sheet that was written."""

    name: str
    # all that was written
    files: tuple[Path, ...]
    # width and height of each page in px
    pages: tuple[tuple[int, int], ...]
    # how many frames there are, and how many of them have a picture of their own
    frames: int
    unique: int
    animations: tuple[Animation, ...]
    # the share of the pages that frames cover, with their edges and the padding
    fill: float

    def to_json(self) -> dict[str, Any]:
        """Shape for programs."""
        return {
            "name": self.name,
            "files": [str(file) for file in self.files],
            "pages": [{"width": width, "height": height} for width, height in self.pages],
            "frames": self.frames,
            "unique": self.unique,
            "animations": [
                {
                    "name": one.name,
                    "frames": list(one.frames),
                    "direction": one.direction.value,
                    "loop": one.loop,
                }
                for one in self.animations
            ],
            "fill": round(self.fill, 4),
        }


@dataclass(frozen=True, kw_only=True)
class SheetOptions:
    """How a sheet is made. Raises UsageError for what cannot be."""

    # names in FORMATS
    formats: Sequence[str]
    # of a grid; None: packed
    columns: int | None = None
    # px; None: 2 and 1, in a grid 0
    padding: int | None = None
    extrude: int | None = None
    power_of_two: bool = False
    max_size: int = 4096
    trim: bool = True
    # whether frames may be turned by 90 degrees
    rotate: bool = False
    # frames of which no pixel differs by more have one picture: in OKLab, alpha of 1; 0: equal ones
    near: float = 0.0
    pivot: Pivot = "bottom"
    fps: float = 10.0
    # names of animations
    pingpong: frozenset[str] = frozenset()
    once: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for name in self.formats:
            if name not in FORMATS:
                raise UsageError(f"--for {name} is not known; there are {', '.join(FORMATS)}")
        if not 0.1 <= self.fps <= 1000:
            raise UsageError(f"--fps {self.fps:g} is not in 0.1 to 1000")
        if self.columns is not None and self.power_of_two:
            raise UsageError(
                "a grid has the size of its cells; leave out --columns or --power-of-two"
            )
        if self.columns is not None and (self.rotate or self.near):
            raise UsageError(
                "a grid has a cell for each frame, as it is; leave out --columns or --rotate and "
                "--near"
            )
        if not 0 <= self.near <= 1:
            raise UsageError(f"--near {self.near:g} is not in 0 to 1")
        if self.rotate:
            try:
                check_takes_rotated(self.formats)
            except BadInput as error:
                raise UsageError(str(error)) from error
        point_of(self.pivot, (1, 1))

    @property
    def duration(self) -> int:
        """Of a frame in ms."""
        return round(1000 / self.fps)


def make_sheet(
    pictures: Names,
    out: str | os.PathLike[str],
    *,
    formats: str | Iterable[str] = "texturepacker",
    columns: int | None = None,
    padding: int | None = None,
    extrude: int | None = None,
    power_of_two: bool = False,
    max_size: int = 4096,
    trim: bool = True,
    rotate: bool = False,
    near: float = 0.0,
    pivot: Pivot = "bottom",
    fps: float = 10.0,
    pingpong: Iterable[str] = (),
    once: Iterable[str] = (),
) -> MadeSheet:
    """Put pictures on a sheet, and write it as game engines read it.

    `pictures` are files and folders. Frames are named as their files; those that differ by a number
    at the end (walk_1.png, walk_2.png; walk/1.png, walk/2.png), and those in a folder inside of a
    folder that is named, are an animation. `out` is the name of the sheet, with the folder that it
    goes into and without a suffix. `formats` are names as the command's `--for` takes them.

    Frames are packed on pages of at most `max_size` px, trimmed, `padding` px apart (2) with their
    edge repeated by `extrude` px (1); with `columns` they are equal cells of a grid, whole, with 0
    for both. With `rotate` frames may be turned by 90 degrees, which not every format takes. Frames
    of which no pixel differs by more than `near`, in OKLab and in alpha of 0 to 1, share one
    picture; 0: equal ones only. Each frame is shown for 1 / `fps` s; the animations named in
    `pingpong` run there and back, those in `once` stop at their end.

    Raises UsageError or InputError before anything is written, and OutputError where a file cannot
    be; then none of them is new.
    """
    asked = formats.split(",") if isinstance(formats, str) else formats
    options = SheetOptions(
        formats=[name.strip().lower() for name in asked],
        columns=columns,
        padding=padding,
        extrude=extrude,
        power_of_two=power_of_two,
        max_size=max_size,
        trim=trim,
        rotate=rotate,
        near=near,
        pivot=pivot,
        fps=fps,
        pingpong=frozenset(pingpong),
        once=frozenset(once),
    )
    target = _target(Path(out))
    return sheet_of(_found(named(pictures)), target, options)


def sheet_of(sources: Sequence[FrameSource], target: Path, options: SheetOptions) -> MadeSheet:
    """Make a sheet of these files, and write it; `target` is its name in its folder.

    Raises as `make_sheet` does.
    """
    _check_named(sources)
    try:
        sheet = _sheet(sources, options)
        files = write(sheet, target.name, options.formats)
    except BadInput as error:
        raise UsageError(str(error)) from error
    written = _written(files, target.parent, [source.file for source in sources])
    places = {(at.page, at.x, at.y) for at in sheet.placements}
    return MadeSheet(
        name=target.name,
        files=written,
        pages=tuple((page.shape[1], page.shape[0]) for page in sheet.pages),
        frames=len(sheet.frames),
        unique=len(places),
        animations=sheet.animations,
        fill=sheet.fill,
    )


def _target(out: Path) -> Path:
    if not is_name(out.name):
        raise UsageError(
            f"--out {out} is no name of a sheet: give letters, digits, - and _, without a suffix, "
            "and no device of Windows such as CON"
        )
    return out


@dataclass(frozen=True)
class FrameSource:
    """A file that becomes a frame."""

    name: str
    # the animation that it is in
    group: str | None
    file: Path


def sources_in(folder: Path, names: Iterable[str]) -> list[FrameSource]:
    """The files of a folder by their paths in it, with /; those in a folder are an animation."""
    found = []
    for name in sorted(names, key=lambda name: [natural(Path(part)) for part in name.split("/")]):
        *folders, _ = name.split("/")
        file = folder / name
        found.append(_inside("_".join(folders), file) if folders else _named(file, file))
    return found


def _found(inputs: Sequence[Path]) -> list[FrameSource]:
    """The frames in order."""
    found: list[FrameSource] = []
    for path in inputs:
        folders = _folders(path)
        if not folders or _pictures(path):
            found += [_named(file, path) for file in pictures_in([path])]
        for folder in folders:
            found += [_inside(folder.name, file) for file in pictures_in([folder])]
    return found


def _check_named(sources: Sequence[FrameSource]) -> None:
    if not sources:
        raise UsageError("there is no picture to work on: name files or folders")
    known: dict[str, Path] = {}
    for source in sources:
        other = known.setdefault(source.name, source.file)
        if other is not source.file:
            raise UsageError(
                f"{other} and {source.file} would both be the frame {source.name}; rename one, or "
                "name the folder that both folders are in, so that each is an animation"
            )


def _named(file: Path, given: Path) -> FrameSource:
    """A file that is named, or in a folder that is: 1.png in the folder walk is walk_1."""
    if given.is_dir() and file.stem.isdecimal():
        return _inside(given.resolve().name, file)
    return FrameSource(file.stem, _group(file.stem), file)


def _inside(folder: str, file: Path) -> FrameSource:
    name = file.stem if file.stem.startswith(folder) else f"{folder}_{file.stem}"
    return FrameSource(name, folder, file)


def _folders(path: Path) -> list[Path]:
    """The folders inside of a folder that have pictures."""
    if not path.is_dir():
        return []
    inside = sorted(entry for entry in path.iterdir() if entry.is_dir())
    return [folder for folder in inside if not folder.name.startswith(".") and _pictures(folder)]


def _pictures(folder: Path) -> list[Path]:
    try:
        return pictures_in([folder])
    except UsageError:  # there are none
        return []


def _group(stem: str) -> str | None:
    """The animation of walk_01, walk-1, walk1 and walk (1): walk."""
    found = re.fullmatch(r"(.*?\D)\d+\)?", stem)
    return found[1].rstrip(" _.-(") or None if found else None


def _frame(source: FrameSource, options: SheetOptions) -> Frame:
    frame = Frame.whole(source.name, read_picture(source.file), duration=options.duration)
    frame = replace(frame, pivot=point_of(options.pivot, frame.source))
    # At once, so that many large pictures of little are not all in memory. A grid has whole ones.
    return trimmed(frame) if options.trim and options.columns is None else frame


def _animations(sources: Sequence[FrameSource], options: SheetOptions) -> list[Animation]:
    groups: dict[str, list[str]] = {}
    for source in sources:
        if source.group is not None:
            groups.setdefault(source.group, []).append(source.name)
    for option, names in (("--pingpong", options.pingpong), ("--once", options.once)):
        for name in sorted(names - groups.keys()):
            there = ", ".join(groups) or "none"
            raise UsageError(f"{option} {name} is no animation here; there are {there}")
    return [
        Animation(
            name,
            tuple(inside),
            Direction.PINGPONG if name in options.pingpong else Direction.FORWARD,
            name not in options.once,
        )
        for name, inside in groups.items()
    ]


def _sheet(sources: Sequence[FrameSource], options: SheetOptions) -> Sheet:
    animations = _animations(sources, options)
    frames = [_frame(source, options) for source in sources]
    if options.columns is not None:
        return in_grid(
            frames,
            animations,
            columns=options.columns,
            padding=options.padding or 0,
            extrude=options.extrude or 0,
        )
    return packed(
        frames,
        animations,
        padding=2 if options.padding is None else options.padding,
        extrude=1 if options.extrude is None else options.extrude,
        largest=options.max_size,
        power_of_two=options.power_of_two,
        trim=options.trim,
        rotate=options.rotate,
        near=Nearness(distance=options.near) if options.near else None,
    )


def _written(files: Files, folder: Path, inputs: Sequence[Path]) -> tuple[Path, ...]:
    """Write all files, or none. Raises UsageError where one is an input."""
    targets = {folder / name: content for name, content in files.items()}
    for target in targets:
        if target.is_dir():
            raise UsageError(f"{target} is a folder, and a file of the sheet would take its place")
        if target.exists() and any(target.samefile(file) for file in inputs):
            raise UsageError(
                f"{target} is one of the pictures to read, and the sheet would take its place; "
                "give another --out"
            )
    before = {target: target.read_bytes() for target in targets if target.exists()}
    parts = {target: target.with_name(f"{target.name}.part") for target in targets}
    changed: list[Path] = []
    try:
        for target, content in targets.items():
            with writing(target):
                folder.mkdir(parents=True, exist_ok=True)
                parts[target].write_bytes(content)
        for target, part in parts.items():
            with writing(target):
                os.replace(part, target)
            changed.append(target)
    except OutputError:
        _restore(changed, before)
        raise
    finally:
        for part in parts.values():
            with suppress(OSError):  # where it could not even be made
                part.unlink()
    return tuple(targets)


def _restore(changed: Sequence[Path], before: dict[Path, bytes]) -> None:
    """Take back what was renamed before one could not be."""
    for target in changed:
        if target in before:
            target.write_bytes(before[target])
        else:
            target.unlink()
