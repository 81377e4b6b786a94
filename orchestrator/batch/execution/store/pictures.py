"""The pictures that lie in a batch's folder, found without its record."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath

from ....errors import ResultWrong
from ....runs.looking import look
from ....runs.picture_formats import NAMED
from ...logic.prefixes import prefixes_in

# Where pictures are until they have a name.
PARTS = ".parts"
# What an export leaves in its folder, whose pictures are made of the batch's.
EXPORTED = "export.json"
# Pictures that are looked at to tell whether a batch made them.
_FEW = 20


def pictures_in(folder: Path, links: list[str] | None = None) -> Iterator[str]:
    """The files in a batch's folder that are called like pictures, inside it, with "/", sorted.

    Links are not followed, and go to `links` where that is given. Pictures that have no name yet
    come last. Folders of exports are passed over, as are hidden ones.
    """
    yield from _below(folder, "", [] if links is None else links)
    parts = folder / PARTS
    if parts.is_dir() and not parts.is_symlink():
        for name in sorted(os.listdir(parts)):
            if (parts / name).is_file() and not (parts / name).is_symlink():
                yield f"{PARTS}/{name}"


def _below(folder: Path, inside: str, links: list[str]) -> Iterator[str]:
    with os.scandir(folder / inside) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        path = f"{inside}{entry.name}"
        is_picture = PurePosixPath(entry.name).suffix.casefold() in NAMED
        if entry.is_symlink():
            if is_picture or entry.is_dir():
                links.append(path)
        elif entry.is_dir():
            if not entry.name.startswith(".") and not (folder / path / EXPORTED).is_file():
                yield from _below(folder, f"{path}/", links)
        elif is_picture and not entry.name.startswith("."):
            yield path


def has_pictures(folder: Path) -> bool:
    """Whether any picture lies in a folder, which need not exist."""
    return folder.is_dir() and next(pictures_in(folder), None) is not None


def has_pictures_of_batch(folder: Path) -> bool:
    """Whether pictures lie in a folder that a batch made, as far as the first ones tell."""
    if not folder.is_dir():
        return False
    return any(_is_of_batch(folder / path) for path in islice(pictures_in(folder), _FEW))


def _is_of_batch(path: Path) -> bool:
    try:
        graph = look(path).graph
    except (OSError, ResultWrong):
        return False
    return graph is not None and next(prefixes_in(graph), None) is not None
