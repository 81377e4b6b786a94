"""Sheets as engines and tools read them: `write` gives the bytes of each file by its name."""

from __future__ import annotations

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

    Raises BadInput for a format that is not known, and for a sheet that one of them cannot hold.
    """
    files: Files = {}
    for format in formats:
        if format not in FORMATS:
            raise BadInput(
                f"{format} is no format of a sheet; those there are: {', '.join(FORMATS)}."
            )
        files |= FORMATS[format](sheet, name)
    return files
