"""Sheets as engines and tools read them: `write` gives the bytes of each file by its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ...errors import BadInput
from ...ops.sheet import Sheet
from . import aseprite, contact, gamemaker, godot, libgdx, phaser, texturepacker, tiled, unity
from .files import Files, pages


@dataclass(frozen=True)
class SheetFormat:
    """How the files of a sheet are made for one reader."""

    write: Callable[[Sheet, str], Files]
    # whether its reader turns a rotated frame back, or has no use for the pages
    takes_rotated: bool = True


FORMATS: dict[str, SheetFormat] = {
    "png": SheetFormat(pages),
    # draws a rotated frame mirrored and stretched (3.90.0 and 4.2.1; tests/engines)
    "phaser": SheetFormat(phaser.write, takes_rotated=False),
    "pixi": SheetFormat(texturepacker.hashed),
    "godot": SheetFormat(godot.write, takes_rotated=False),
    "unity": SheetFormat(unity.write, takes_rotated=False),
    # in its JSON no frame is rotated
    "aseprite": SheetFormat(aseprite.write, takes_rotated=False),
    "tiled": SheetFormat(tiled.write),
    "libgdx": SheetFormat(libgdx.write),
    "gamemaker": SheetFormat(gamemaker.write),
    "texturepacker": SheetFormat(texturepacker.hashed),
    "texturepacker-array": SheetFormat(texturepacker.array),
    "contact": SheetFormat(contact.write),
}
"""Each by the name that a user gives."""


def write(sheet: Sheet, name: str, formats: Iterable[str]) -> Files:
    """The files of a sheet in these formats; what several share is there once.

    Raises BadInput for a format that is not known, for a sheet that one of them cannot hold, and
    for names that no file can have.
    """
    _check_names(sheet)
    files: Files = {}
    for format in formats:
        check_known([format])
        if sheet.rotate:
            check_takes_rotated([format])
        files |= FORMATS[format].write(sheet, name)
    _check_files(files)
    return files


def check_known(formats: Iterable[str]) -> None:
    """Raises BadInput for a format that is not known."""
    for format in formats:
        if format not in FORMATS:
            known = ", ".join(FORMATS)
            raise BadInput(f"{format} is no format of a sheet; those there are: {known}.")


def check_takes_rotated(formats: Iterable[str]) -> None:
    """Raises BadInput for a format, one of FORMATS, whose reader cannot turn a frame back."""
    for format in formats:
        if not FORMATS[format].takes_rotated:
            able = ", ".join(name for name, one in FORMATS.items() if one.takes_rotated)
            raise BadInput(
                f"{format} cannot turn a rotated frame back: leave out rotate, or make another "
                f"sheet for it. What can, or reads no pages: {able}."
            )


def _check_names(sheet: Sheet) -> None:
    """Some of the formats are lines of text, in which a name cannot have a line break."""
    names = (*(frame.name for frame in sheet.frames), *(one.name for one in sheet.animations))
    for name in names:
        if not name or not name.isprintable() or name != name.strip():
            raise BadInput(
                f"{name!r} is no name of a frame or an animation: it has at least one character, "
                "none that cannot be seen, and no space at its ends."
            )


def is_device(name: str) -> bool:
    """Whether Windows takes a file for a device, whatever stands behind the first dot."""
    stem = name.split(".")[0].rstrip().upper()
    return re.fullmatch(r"CON|PRN|AUX|NUL|(COM|LPT)[0-9\u00b9\u00b2\u00b3]", stem) is not None


def _check_files(files: Files) -> None:
    known: dict[str, str] = {}
    for name in files:
        if re.search(r'[/\\:*?"<>|]', name) or name.startswith(".") or is_device(name):
            raise BadInput(
                f"{name!r} cannot be the name of a file on every system; rename what it comes from."
            )
        # some systems do not tell Walk from walk
        other = known.setdefault(name.casefold(), name)
        if other != name:
            raise BadInput(f"{other} and {name} would be one file on some systems; rename one.")
