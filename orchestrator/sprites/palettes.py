"""Palettes in files and by name, and pictures in their colours: what `spriteworks palette` does."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from comfy_nodes.errors import BadInput
from comfy_nodes.formats import palettes as formats
from comfy_nodes.formats import typed, well_known
from comfy_nodes.formats.palettes import Palette as Palette
from comfy_nodes.formats.palettes import PaletteFormat
from comfy_nodes.ops.palette import (
    LARGEST,
    check_recolor,
    ramp_onto,
    recolor,
    shared_palette,
    visible_colors,
)

from ..client.client import writing
from ..errors import InputError, UsageError
from ..runs.fetching import store
from .files import (
    Names,
    PictureResult,
    Report,
    each_picture,
    named,
    pictures_in,
    read_picture,
    write_picture,
)
from .finishing import Finish, FinishedPicture, as_palette, dithering
from .together import Looked, finish_files

if TYPE_CHECKING:
    from numpy.typing import NDArray

Source = str | os.PathLike[str] | Palette
"""A palette, its file, its well-known name, or its colours as "#1a1c2c, #5d275d"."""


def read_palette(source: Source) -> Palette:
    """The palette in a file (.hex, .gpl, JASC .pal, .ase, .png), of that name, or of those colours.

    Names are those that `spriteworks palette list` shows; a file of such a name is `./pico-8`.
    Raises UsageError where it is none of these, and InputError where a file is no palette.
    """
    if isinstance(source, Palette):
        return source
    if isinstance(source, str) and not means_file(source):
        return _typed(source)
    return _in_file(Path(source))


def palette_or_count(source: Source | int) -> Palette | int:
    """What `read_palette` takes, or a number of colours to be found: 16, "16"."""
    if isinstance(source, int):
        return source
    if isinstance(source, str) and re.fullmatch(r"\s*\d{1,5}\s*", source):
        return int(source)
    return read_palette(source)


def means_file(text: str, folder: str | os.PathLike[str] = "") -> bool:
    """Whether a text is the name of a palette file, seen from a folder, there or not."""
    if well_known.is_known(text):
        return False
    if os.path.isfile(os.path.join(folder, text)) or os.path.isdir(os.path.join(folder, text)):
        return bool(text)
    suffix = os.path.splitext(text)[1].lower().removeprefix(".")
    return suffix in {one.value for one in PaletteFormat} or "/" in text or os.sep in text


def _typed(text: str) -> Palette:
    try:
        found = typed.palette_in(text)
    except BadInput as error:
        raise UsageError(f"there is no file {text}. {error}") from error
    if found is None:
        raise UsageError("the palette is empty: give a file, a name, or colours like #1a2b3c")
    return found


def _in_file(path: Path) -> Palette:
    if path.is_dir():
        raise InputError(
            f"{path} is a folder, and a palette is a file; `spriteworks palette find` makes one of "
            "a folder's pictures"
        )
    if path.exists() and not path.is_file():
        # opening a pipe would wait for ever
        raise InputError(f"{path} is no file")
    try:
        with path.open("rb") as stream:
            content = stream.read(formats.LARGEST_FILE + 1)
        return formats.read(content, path.stem)
    except FileNotFoundError as error:
        raise UsageError(f"the palette {path} is not there") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except BadInput as error:
        raise InputError(f"{path}: {error}") from error


def write_palette(palette: Palette, file: str | os.PathLike[str]) -> None:
    """Write a palette in the format that the file's name ends with, whole or not at all.

    Raises UsageError for another ending, and OutputError.
    """
    target = Path(file)
    content = formats.write(palette, format_of(target))
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    store(content, f"{target}.part", str(target))


def called(palette: Palette, name: str) -> Palette:
    """The palette under another name; what cannot stand in one is left out."""
    return Palette(formats.one_line(name), palette.colours)


def format_of(file: Path) -> PaletteFormat:
    """The format that a file's name asks for. Raises UsageError."""
    try:
        return PaletteFormat(file.suffix.lower().removeprefix("."))
    except ValueError:
        known = ", ".join(f".{one.value}" for one in PaletteFormat)
        raise UsageError(f"{file} names no format of palettes; the endings are {known}") from None


def find_palette(pictures: Names, colours: int = 16, *, looked: Looked | None = None) -> Palette:
    """At most so many colours, 1 to 256, that stand for all the pictures together.

    `pictures` are files and folders, and are looked at as they are. Pictures that have no more
    colours give exactly those. `looked` is called with how many were looked at, and of how many.
    Raises UsageError, and InputError for what cannot be read or has no pixel that can be seen.
    """
    if not 1 <= colours <= LARGEST:
        raise UsageError(f"a palette of {colours} colours cannot be found; 1 to {LARGEST} can")
    files = pictures_in(named(pictures))
    try:
        return as_palette(shared_palette(_seen(files, looked), colours))
    except BadInput as error:
        raise InputError(str(error)) from error


def _seen(files: Sequence[Path], looked: Looked | None) -> Iterator[NDArray[np.uint8]]:
    for done, file in enumerate(files, 1):
        yield read_picture(file)
        if looked is not None:
            looked(done, len(files))


@dataclass(frozen=True, kw_only=True)
class PaintedFile(PictureResult):
    """What became of one picture; `saved` has its colours changed."""

    # that are seen
    colours: int = 0
    # what it was painted with, as "#1a2b3c"
    palette: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Shape for programs."""
        if self.saved is None:
            return {"file": str(self.file), "error": self.error}
        palette = {"palette": list(self.palette)}
        return {"file": str(self.file), "colours": self.colours, **palette}


def repaint(
    pictures: Names,
    out: str | os.PathLike[str],
    palette: Source | int,
    *,
    dither: str = "none",
    own_palettes: bool = False,
    report: Report[PaintedFile] | None = None,
    looked: Looked | None = None,
) -> list[PaintedFile]:
    """Write each picture in the colours of a palette, as NAME.png in the folder `out`.

    Pictures are taken as they are: for those of fake pixels `snap` has a palette, too. The rest is
    as there.
    """
    finish = Finish(grid=None, palette=palette_or_count(palette), dither=dithering(dither))
    check_own(finish, own_palettes)
    return finish_files(
        pictures,
        out,
        finish,
        _kept,
        PaintedFile,
        own_palettes=own_palettes,
        report=report,
        looked=looked,
    )


def check_own(finish: Finish, own_palettes: bool) -> None:
    """Raises UsageError where pictures cannot have palettes of their own."""
    if own_palettes and not finish.finds_palette:
        raise UsageError(
            "pictures have palettes of their own only where a number of colours is given, as "
            "--palette 16"
        )


def _kept(file: Path, target: Path, one: FinishedPicture) -> PaintedFile:
    assert one.palette is not None
    colours = one.found.colours
    return PaintedFile(file=file, saved=target, colours=colours, palette=hex_list(one.palette))


def hex_list(palette: Palette) -> tuple[str, ...]:
    """The colours as "#1a2b3c", in their order."""
    return tuple(f"#{bytes(colour).hex()}" for colour in palette.colours)


@dataclass(frozen=True, kw_only=True)
class RecolouredFile(PictureResult):
    """What became of one picture; `saved` has its ramps swapped."""

    # pixels whose colour is another now
    changed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Shape for programs."""
        if self.saved is None:
            return {"file": str(self.file), "error": self.error}
        return {"file": str(self.file), "changed": self.changed}


def swap_ramps(
    pictures: Names,
    out: str | os.PathLike[str],
    ramps: Sequence[tuple[str, str]],
    *,
    palette: Source | None = None,
    report: Report[RecolouredFile] | None = None,
) -> list[RecolouredFile]:
    """Write each picture with ramps of colours replaced, as NAME.png in the folder `out`.

    `ramps` are pairs (old, new), all replaced at once. Each is hex colours, or a name as
    `spriteworks palette show --ramps` tells them, such as "red": a ramp of the palette, or of all
    colours of the pictures where none is given. The darkest colour of the old ramp becomes the
    darkest of the new one, and so on. Other colours stay, and what is transparent. Raises
    UsageError for a ramp that is not there, and names those that are.
    """
    files = pictures_in(named(pictures))
    if not ramps:
        raise UsageError("there is no ramp to swap: give an old and a new one")
    known = _Colours(files, None if palette is None else read_palette(palette))
    try:
        pairs = [(typed.ramp_in(old, known), typed.ramp_in(new, known)) for old, new in ramps]
        source = np.concatenate([old for old, _ in pairs])
        target = np.concatenate([ramp_onto(old, new) for old, new in pairs])
        check_recolor(source, target)
    except BadInput as error:
        raise UsageError(str(error)) from error

    def work(picture: NDArray[np.uint8], file: Path, place: Path) -> RecolouredFile:
        result = recolor(picture, source, target)
        write_picture(result, place)
        changed = int((result != picture).any(axis=-1).sum())
        return RecolouredFile(file=file, saved=place, changed=changed)

    return each_picture(files, out, work, RecolouredFile, report)


class _Colours:
    """Whose ramps are meant: a palette's, or all pictures', which are looked at once asked for."""

    def __init__(self, files: list[Path], palette: Palette | None) -> None:
        self._files = files
        self._found = None if palette is None else palette.array()

    def __call__(self) -> NDArray[np.uint8]:
        """uint8 [N, 3]. Raises UsageError for so many that nobody could name their ramps."""
        if self._found is None:
            self._found = visible_colors(self._pictures())
        if len(self._found) > LARGEST:
            raise UsageError(
                f"{len(self._found)} colours are too many for ramps with names: paint the pictures "
                "with a palette first, give --palette, or write ramps as hex colours"
            )
        return self._found

    def _pictures(self) -> Iterator[NDArray[np.uint8]]:
        for file in self._files:
            try:
                yield read_picture(file)
            except InputError:
                continue  # told in its result
