"""Pictures on the disk: which are meant, what each holds, and where the result goes."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..client.client import writing
from ..errors import InputError, ResultWrong, UsageError
from ..runs.fetching import store
from ..runs.looking import FORMATS, NAMED, look

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def pictures_in(inputs: Sequence[Path]) -> list[Path]:
    """The files that are named, and the pictures in the folders that are named, in order.

    A folder's are sorted by name, with numbers by their value, and its own folders are left alone.
    Raises UsageError where something is not there, or nothing is.
    """
    found: list[Path] = []
    for path in inputs:
        if path.is_dir():
            own = [file for file in path.iterdir() if _is_picture(file)]
            if not own:
                raise UsageError(f"{path} has no pictures in it ({FORMATS})")
            found += sorted(own, key=_natural)
        elif path.exists():
            found.append(path)
        else:
            raise UsageError(f"{path} is not there")
    if not found:
        raise UsageError("there is no picture to snap: name files or folders")
    return found


def _is_picture(file: Path) -> bool:
    hidden = file.name.startswith(".")
    return not hidden and file.suffix.casefold() in NAMED and file.is_file()


def _natural(file: Path) -> tuple[list[tuple[int, str]], str]:
    """walk-2.png before walk-10.png."""
    parts = re.findall(r"\d+|\D+", file.name.casefold())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], file.name


def targets_in(files: Sequence[Path], out: Path) -> list[Path]:
    """Where the result of each goes: NAME.png in `out`.

    Raises UsageError where two would share a name, or one would take the place of an input, so that
    nothing is written before that is known.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file, and the pictures need a folder")
    taken: dict[str, Path] = {}
    targets = []
    for file in files:
        target = out / f"{file.stem}.png"
        # some systems do not tell Potion.png from potion.png
        other = taken.setdefault(target.name.casefold(), file)
        if other is not file:
            raise UsageError(f"{other} and {file} would both become {target}; rename one of them")
        targets.append(target)
    for target in targets:
        if target.exists() and any(target.samefile(file) for file in files):
            raise UsageError(
                f"{target} is one of the pictures to read, and a result would take its place; "
                "give another --out"
            )
    return targets


def read_picture(file: Path) -> NDArray[np.uint8]:
    """The pixels of a picture: uint8 [H, W, 3], or [H, W, 4] where some are transparent.

    Raises InputError where it is no whole picture of one frame, or is too large.
    """
    try:
        if not file.is_file():
            raise InputError(f"{file} is no file")
        found = look(file)
        if found.frames > 1:
            raise InputError(
                f"{file} has {found.frames} frames; give them as single pictures, with --sequence"
            )
        pixels: NDArray[np.uint8] = found.rgba
    except ResultWrong as error:
        raise InputError(f"{file}: {error}") from error
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}") from error
    return pixels[..., :3] if (pixels[..., 3] == 255).all() else pixels


def write_picture(pixels: NDArray[np.uint8], target: Path) -> None:
    """Write a PNG, whole or not at all; raises OutputError."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    with writing(target):
        os.makedirs(target.parent, exist_ok=True)
    store(content.getvalue(), f"{target}.part", str(target))
