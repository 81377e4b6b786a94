"""Measuring pictures that lie in files; what `spriteworks inspect` does."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comfy_nodes.errors import BadInput
from comfy_nodes.formats.palettes import Palette
from comfy_nodes.ops.color import hex_color
from comfy_nodes.ops.measures.measure import NOTHING_ASKED, Asked, Mend
from comfy_nodes.ops.measures.taking import Reading, of_frames, of_picture, of_sets

from ..errors import InputError, UsageError
from .files import Names, animations_in, named, read_picture
from .palettes import Source, hex_list, palette_or_count

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# What mends a picture: "{file}" is its name. What has no command yet is said in words.
_COMMANDS = {
    Mend.SNAP: "spriteworks snap {file} --out DIR",
    Mend.CUT_OUT: "spriteworks snap {file} --out DIR --cutout",
    Mend.CLEAN: "spriteworks mend {file} --out DIR",
    Mend.OUTLINE: "spriteworks mend {file} --out DIR",
    Mend.PALETTE: "spriteworks snap {file} --out DIR --palette {palette}",
    Mend.SHARED_PALETTE: "spriteworks snap {file} --out DIR --palette {palette} --sequence",
    Mend.ALIGN: "spriteworks frames {file} --out DIR",
    Mend.CLOSE: "spriteworks tile {file} --out DIR",
    Mend.DRAW: "draw it anew there",
    Mend.NEW_SEED: "make it again with another seed",
}
COLOURS = 16
"""Of a palette that nobody named."""


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What pictures shall be, and how they are seen."""

    asked: Asked = NOTHING_ASKED
    palette: Palette | None = None
    # most colours that a picture may have
    colours: int | None = None

    @classmethod
    def of(
        cls,
        *,
        tile: bool = False,
        cell: tuple[int, int] | None = None,
        guides: tuple[int, int, int, int] | None = None,
        palette: Source | int | None = None,
        key: str | None = None,
    ) -> Expectation:
        """As `inspect` takes them. Raises UsageError for what cannot be, InputError for a file."""
        found = None if palette is None else palette_or_count(palette)
        color = None if key is None else hex_color(key)
        if key is not None and color is None:
            raise UsageError(f"{key} is no colour; write the background's as #1a2b3c")
        if isinstance(found, int) and found < 1:
            raise UsageError(f"no picture has {found} colours; give 1 or more, or a palette")
        own = found if isinstance(found, Palette) else None
        asked = Asked(
            tile=tile,
            cell=cell,
            guides=guides,
            palette=None if own is None else own.array(),
            key=color,
        )
        return cls(asked=asked, palette=own, colours=found if isinstance(found, int) else None)

    @property
    def source(self) -> Palette | int:
        """The palette that mends, or how many colours it has."""
        return self.palette or self.colours or COLOURS

    def readings(self, picture: NDArray[np.uint8]) -> tuple[Reading, ...]:
        """All measures of one picture, uint8 [H, W, 3 or 4]. Raises BadInput."""
        readings = of_picture(picture, self.asked)
        return tuple(one.with_colours(self.colours) for one in readings)


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """What the measures say of one picture, or of one set of frames."""

    # the picture, or the folder of the frames, or the first of them
    file: Path
    readings: tuple[Reading, ...] = ()
    # why it could not be measured, in one sentence
    error: str = ""
    # name or number of colours of the palette that mends
    palette: str = str(COLOURS)
    # the frames that were named by themselves, all of which a command is for; else it is for `file`
    named: tuple[Path, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether it could be measured, and all measures are within their bounds."""
        return not self.error and not self.failed

    @property
    def failed(self) -> tuple[Reading, ...]:
        """The measures that are not."""
        return tuple(one for one in self.readings if not one.passed)

    def command(self, reading: Reading) -> str:
        """What mends a failed measure: a command, or words where there is none."""
        files = " ".join(_quoted(str(file)) for file in self.named or (self.file,))
        palette = _quoted(self.palette)
        return _COMMANDS[reading.measure.mend].format(file=files, palette=palette)

    def to_json(self) -> dict[str, Any]:
        """Shape for programs; a value of null says that a measure does not apply."""
        if self.error:
            return {"file": str(self.file), "error": self.error}
        return {
            "file": str(self.file),
            "passed": self.passed,
            "measures": [self._row(one) for one in self.readings],
        }

    def _row(self, reading: Reading) -> dict[str, Any]:
        mend = {} if reading.passed else {"mend": self.command(reading)}
        return {**reading.to_json(), **mend}


def _quoted(word: str) -> str:
    """A word of a command as a shell takes it.

    Double quotes, which cmd.exe and PowerShell read, too, except for what they do not hide. `#`
    begins a comment, and brackets and signs have meanings.
    """
    if re.fullmatch(r"[\w./\\:=,@%+-]+", word):
        return word
    return shlex.quote(word) if re.search(r'["$`!\\]', word) and os.sep == "/" else f'"{word}"'


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What the measures say of pictures, and of the frames that they are."""

    pictures: tuple[Inspected, ...]
    # one for each folder, and one for the files that were named by themselves
    frames: tuple[Inspected, ...] = ()
    # of all sets of frames together, where there are several
    sets: Inspected | None = None

    @property
    def everything(self) -> tuple[Inspected, ...]:
        """Pictures, frames, and sets, one after another."""
        return (*self.pictures, *self.frames, *(() if self.sets is None else (self.sets,)))

    @property
    def passed(self) -> bool:
        """Whether everything does."""
        return all(one.passed for one in self.everything)

    def to_json(self) -> dict[str, Any]:
        """Shape for programs."""
        sets = {} if self.sets is None else {"sets": self.sets.to_json()}
        frames = {"frames": [one.to_json() for one in self.frames]} if self.frames else {}
        pictures = [one.to_json() for one in self.pictures]
        return {"passed": self.passed, "pictures": pictures, **frames, **sets}


Report = Callable[[Inspected, int, int], None]


def inspect(
    pictures: Names,
    *,
    frames: bool = False,
    tile: bool = False,
    cell: tuple[int, int] | None = None,
    guides: tuple[int, int, int, int] | None = None,
    palette: Source | int | None = None,
    key: str | None = None,
    report: Report | None = None,
) -> Inspection:
    """Measure pictures, and say of each fault what mends it; nothing is written.

    `pictures` are files and folders. With `frames` each folder is one animation, its pictures in
    order, and so are the files that are named by themselves. `tile`: they are to be laid beside
    themselves. `cell`: they are sheets of cells of that width and height. `guides`: they are panels
    with fixed borders of so many px, left, right, top and bottom. `palette`: one that they shall
    have the colours of, as `read_palette` takes it, or how many colours they may have. `key`: the
    background's colour, "#1a2b3c", where the picture does not tell it. `report` is called with each
    picture, how many there are by now, and of how many.

    A picture that cannot be measured is told in its result, and the others go on. Raises
    UsageError, and InputError where a palette's file is none.
    """
    wanted = Expectation.of(tile=tile, cell=cell, guides=guides, palette=palette, key=key)
    name = _as_typed(palette)
    groups = animations_in(named(pictures))
    total = sum(len(files) for _, files in groups)
    done: list[Inspected] = []
    together: list[Inspected] = []
    sets: list[list[NDArray[np.uint8]]] = []
    for group, files in groups:
        kept = []
        for file in files:
            try:
                picture = read_picture(file)
                found = Inspected(file=file, readings=wanted.readings(picture), palette=name)
                kept.append(picture)
            except (InputError, BadInput) as error:
                text = str(error)
                text = text if str(file) in text else f"{file}: {text}"
                found = Inspected(file=file, error=text)
            done.append(found)
            if report is not None:
                report(found, len(done), total)
            if not frames:
                kept.clear()
        if frames:
            named_here = () if group.is_dir() else tuple(files)
            readings = tuple(of_frames(kept))
            together.append(
                Inspected(file=group, readings=readings, palette=name, named=named_here)
            )
            sets.append(kept)
    across = None
    if len(sets) > 1:
        across = Inspected(file=groups[0][0], readings=tuple(of_sets(sets)), palette=name)
    return Inspection(pictures=tuple(done), frames=tuple(together), sets=across)


def _as_typed(palette: Source | int | None) -> str:
    """A palette as `--palette` takes it."""
    if palette is None:
        return str(COLOURS)
    if isinstance(palette, Palette):
        return ",".join(hex_list(palette))
    return str(palette) if isinstance(palette, int) else os.fspath(palette)
