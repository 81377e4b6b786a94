"""Pictures on the disk: which are meant, what each holds, and where the result goes."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from comfy_nodes.errors import BadInput

from ..client.client import writing
from ..errors import InputError, ResultWrong, UsageError
from ..runs.fetching import store
from ..runs.looking import look
from ..runs.picture_formats import FORMATS, NAMED

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


Names = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


@dataclass(frozen=True, kw_only=True)
class PictureResult:
    """What became of one picture."""

    file: Path
    # where its result is; None where there is an error
    saved: Path | None = None
    # why not, in one sentence
    error: str = ""

    @property
    def ok(self) -> bool:
        """True where there is a result."""
        return self.saved is not None


Result = TypeVar("Result", bound=PictureResult)
Report = Callable[[Result, int, int], None]


def each_picture(
    pictures: Names,
    out: str | os.PathLike[str],
    work: Callable[[NDArray[np.uint8], Path, Path], Result],
    kind: type[Result],
    report: Report[Result] | None = None,
) -> list[Result]:
    """Do `work` on each picture of the files and folders, with its pixels, its file and its target.

    `report` is called with each result, how many there are by now, and of how many. A picture that
    cannot be worked on is told in its result, a `kind` with the error, and the others go on. Raises
    UsageError before anything is written, and OutputError where a result cannot be.
    """
    files = pictures_in(named(pictures))
    targets = targets_in(files, Path(out))
    results: list[Result] = []
    for file, target in zip(files, targets, strict=True):
        try:
            result = work(read_picture(file), file, target)
        except (InputError, BadInput) as error:
            result = failed(kind, file, error)
        results.append(result)
        if report is not None:
            report(result, len(results), len(files))
    return results


def worker_ended(file: Path) -> InputError:
    """Why a picture whose process died has no result."""
    return InputError(f"{file}: the process that worked on it was ended; is there enough memory?")


def failed(kind: type[Result], file: Path, error: Exception) -> Result:
    """The result of a picture that could not be worked on."""
    text = str(error)
    return kind(file=file, error=text if str(file) in text else f"{file}: {text}")


def named(pictures: Names) -> list[Path]:
    """The paths that a caller gave, one or several."""
    several = [pictures] if isinstance(pictures, (str, os.PathLike)) else pictures
    return [Path(one) for one in several]


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
            found += sorted(own, key=natural)
        elif path.exists():
            found.append(path)
        else:
            raise UsageError(f"{path} is not there")
    if not found:
        raise UsageError("there is no picture to work on: name files or folders")
    return found


def animations_in(inputs: Sequence[Path]) -> list[tuple[Path, list[Path]]]:
    """The files of each folder, and those that are named by themselves, in order.

    Each with the folder, or with the first of the files. Raises UsageError as `pictures_in`.
    """
    alone = [path for path in inputs if not path.is_dir()]
    groups = [(path, pictures_in([path])) for path in inputs if path.is_dir()]
    if alone or not groups:
        files = pictures_in(alone)
        groups.insert(0, (files[0], files))
    return groups


def _is_picture(file: Path) -> bool:
    hidden = file.name.startswith(".")
    return not hidden and file.suffix.casefold() in NAMED and file.is_file()


def natural(file: Path) -> tuple[list[tuple[int, str]], str]:
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

    It is turned as a viewer turns it. Raises InputError where it is no whole picture of one frame,
    or is too large.
    """
    try:
        if not file.is_file():
            raise InputError(f"{file} is no file")
        found = look(file)
        if found.frames > 1:
            raise InputError(
                f"{file} has {found.frames} frames; give them as single pictures, in one folder"
            )
        pixels: NDArray[np.uint8] = found.upright
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
    write_file(content.getvalue(), target)


def write_file(content: bytes, target: Path) -> None:
    """Write a file, whole or not at all; raises OutputError."""
    with writing(target):
        os.makedirs(target.parent, exist_ok=True)
    store(content, f"{target}.part", str(target))
