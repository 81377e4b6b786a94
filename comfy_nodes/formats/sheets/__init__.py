"""Sheets as engines and tools read them: `write` gives the bytes of each file by its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from ...errors import BadInput
from ...ops.sheet import Sheet
from . import aseprite, contact, gamemaker, godot, libgdx, phaser, texturepacker, tiled, unity
from .files import Files, pages

FORMATS: dict[str, Callable[[Sheet, str], Files]] = {
    "png": pages,
    "phaser": phaser.write,
    "pixi": texturepacker.hashed,
    "godot": godot.write,
    "unity": unity.write,
    "aseprite": aseprite.write,
    "tiled": tiled.write,
    "libgdx": libgdx.write,
    "gamemaker": gamemaker.write,
    "texturepacker": texturepacker.hashed,
    "texturepacker-array": texturepacker.array,
    "contact": contact.write,
}
"""What writes each, by the name that a user gives."""


def write(sheet: Sheet, name: str, formats: Iterable[str]) -> Files:
    """The files of a sheet in these formats; what several share is there once.

    Raises BadInput for a format that is not known, for a sheet that one of them cannot hold, and
    for names that no file can have.
    """
    _check_names(sheet)
    files: Files = {}
    for format in formats:
        if format not in FORMATS:
            known = ", ".join(FORMATS)
            raise BadInput(f"{format} is no format of a sheet; those there are: {known}.")
        files |= FORMATS[format](sheet, name)
    _check_files(files)
    return files


def _check_names(sheet: Sheet) -> None:
    """Some of the formats are lines of text, in which a name cannot have a line break."""
    names = (*(frame.name for frame in sheet.frames), *(one.name for one in sheet.animations))
    for name in names:
        if not name or not name.isprintable() or name != name.strip():
            raise BadInput(
                f"{name!r} is no name of a frame or an animation: it has at least one character, "
                "none that cannot be seen, and no space at its ends."
            )


def _check_files(files: Files) -> None:
    known: dict[str, str] = {}
    for name in files:
        if re.search(r'[/\\:*?"<>|]', name) or name.startswith("."):
            raise BadInput(f"{name!r} cannot be the name of a file.")
        # some systems do not tell Walk from walk
        other = known.setdefault(name.casefold(), name)
        if other != name:
            raise BadInput(f"{other} and {name} would be one file on some systems; rename one.")
