"""Contact sheets of a batch as PNG files, for places where no browser is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....client.client import writing
from ....runs.picture_formats import SUFFIXES
from ...execution.opening import record_of
from ...execution.plan import recall
from ...execution.store.store import Store
from ...logic.jobs import State
from ...logic.manifest.manifest import ContactSheet
from . import history

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

STEM = "contact"
# Pixels; programs that show sheets get slow or give up beyond.
TALLEST = 8192
_MARGIN, _GAP, _LABEL, _TITLE = 12, 8, 16, 26
_FONT_SIZE = 11
# Edge of a square of the checkerboard, in pixels.
_SQUARE = 8
_GROUND, _INK, _QUIET = (30, 32, 36), (230, 231, 233), (160, 165, 174)
_CHECKS = (92, 95, 101), (70, 73, 79)
# In the files that are ours to replace and to remove.
_MARK = "Spriteworks contact sheet"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One picture of a sheet."""

    path: Path
    label: str


@dataclass(frozen=True, kw_only=True)
class ContactLayout:
    """Where things are on a sheet, in pixels."""

    sheet: ContactSheet
    columns: int
    rows: int

    @property
    def pitch(self) -> tuple[int, int]:
        """From one cell to the next, across and down."""
        cell = self.sheet.cell
        return cell + _GAP, cell + _GAP + (_LABEL if self.sheet.labels else 0)

    @property
    def size(self) -> tuple[int, int]:
        """Of the whole sheet."""
        across, down = self.pitch
        return (
            2 * _MARGIN + self.columns * across - _GAP,
            2 * _MARGIN + _TITLE + self.rows * down - _GAP,
        )

    def corner(self, index: int) -> tuple[int, int]:
        """The upper left corner of a cell."""
        row, column = divmod(index, self.columns)
        across, down = self.pitch
        return _MARGIN + column * across, _MARGIN + _TITLE + row * down


def write(folder: Path) -> list[Path]:
    """Write the contact sheets of a batch as its manifest says; returns their paths.

    One sheet is contact.png, several are contact-001.png and so on, in the order of the manifest.
    Sheets of an earlier, longer batch are removed. Raises OutputError where one cannot be written.
    """
    with record_of(folder, create=False) as store:
        known = recall(store)
        name = known.manifest.name if known else folder.resolve().name
        sheet = known.manifest.contact_sheet if known else ContactSheet()
        cells = list(_cells(store, folder))
        stem = _free_stem(file.path for files in history.files(store).values() for file in files)
    most = rows_that_fit(sheet) * sheet.columns
    parts = [cells[begin : begin + most] for begin in range(0, len(cells), most)] or [[]]
    paths = []
    for number, part in enumerate(parts, 1):
        several = len(parts) > 1
        path = folder / (f"{stem}-{number:03}.png" if several else f"{stem}.png")
        place = f", sheet {number} of {len(parts)}" if several else ""
        _save(draw(part, sheet, f"{name}: {len(cells)} pictures{place}"), path)
        paths.append(path)
    _remove_others(folder, stem, paths)
    return paths


def rows_that_fit(sheet: ContactSheet) -> int:
    """How many rows a sheet may have."""
    empty = ContactLayout(sheet=sheet, columns=1, rows=0)
    return max(1, (TALLEST - empty.size[1]) // empty.pitch[1])


def draw(cells: Sequence[Cell], sheet: ContactSheet, title: str) -> Image.Image:
    """One sheet, as an RGB picture; a file that cannot be read leaves a cell that says so."""
    from PIL import Image, ImageDraw, ImageFont

    columns = max(1, min(sheet.columns, len(cells)))
    rows = -(-len(cells) // columns)
    layout = ContactLayout(sheet=sheet, columns=columns, rows=rows)
    canvas = Image.new("RGB", layout.size, _GROUND)
    pen = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(_FONT_SIZE)
    width = layout.size[0] - 2 * _MARGIN
    pen.text((_MARGIN, _MARGIN), shortened(title, width, font), _INK, font)
    board = checkerboard(sheet.cell)
    for index, cell in enumerate(cells):
        x, y = layout.corner(index)
        canvas.paste(board, (x, y))
        _put(canvas, pen, cell.path, (x, y), sheet.cell, font)
        if sheet.labels:
            label = shortened(cell.label, sheet.cell, font)
            pen.text((x, y + sheet.cell + 2), label, _QUIET, font)
    return canvas


def fitted(image: Image.Image, cell: int) -> Image.Image:
    """A picture as large as it may be in a cell, its pixels kept.

    Enlarged by a whole number with nearest neighbour. A larger one is shrunk by a whole number, to
    the mean of the pixels that fall together: to leave some out would tear smooth pictures.
    """
    from PIL import Image

    longest = max(image.size)
    if longest > cell:
        return image.reduce(-(-longest // cell))
    times = cell // longest
    size = image.width * times, image.height * times
    return image.resize(size, Image.Resampling.NEAREST)


def checkerboard(edge: int) -> Image.Image:
    """What is seen where a picture is transparent, as an RGB picture."""
    from PIL import Image, ImageDraw

    board = Image.new("RGB", (edge, edge), _CHECKS[0])
    pen = ImageDraw.Draw(board)
    for y in range(0, edge, _SQUARE):
        for x in range(0, edge, _SQUARE):
            if (x + y) // _SQUARE % 2:
                pen.rectangle((x, y, x + _SQUARE - 1, y + _SQUARE - 1), _CHECKS[1])
    return board


def shortened(text: str, width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """A text that is at most `width` pixels wide; its end tells pictures apart, so it stays."""
    text = "".join(one if one.isprintable() else " " for one in text)
    if font.getlength(text) <= width:
        return text
    while len(text) > 1 and font.getlength(f"…{text}") > width:
        text = text[1:]
    return f"…{text}"


def _cells(store: Store, folder: Path) -> Iterator[Cell]:
    files = history.files(store)
    for entry in store.entries(State.DONE):
        for file in files.get(entry.job.key, ()):
            yield Cell(path=folder / file.path, label=file.path.rsplit(".", 1)[0])


def _put(
    canvas: Image.Image,
    pen: ImageDraw.ImageDraw,
    path: Path,
    corner: tuple[int, int],
    cell: int,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    from PIL import Image

    x, y = corner
    try:
        with Image.open(path, formats=tuple(SUFFIXES)) as source:
            picture = fitted(source.convert("RGBA"), cell)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        # One lost file must not cost the whole sheet; `batch run` makes it again.
        pen.text((x + 4, y + 4), "missing", _INK, font)
        return
    place = x + (cell - picture.width) // 2, y + (cell - picture.height) // 2
    canvas.paste(picture, place, picture)


def _free_stem(paths: Iterator[str]) -> str:
    """A name for sheets that no picture of the batch has."""
    taken = {path.lower() for path in paths}
    stem = STEM
    while any(path.startswith((f"{stem}.", f"{stem}-")) for path in taken):
        stem = f"_{stem}"
    return stem


def _save(image: Image.Image, path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Software", _MARK)
    part = path.with_name(f".{path.name}.part")
    with writing(path):
        image.save(part, format="PNG", pnginfo=info)
        os.replace(part, path)


def is_contact_sheet(texts: Mapping[Any, Any]) -> bool:
    """Whether a picture that carries these texts is a sheet that we wrote."""
    return texts.get("Software") == _MARK


def _remove_others(folder: Path, stem: str, paths: Sequence[Path]) -> None:
    from PIL import Image, UnidentifiedImageError

    for path in folder.glob(f"{stem}*.png"):
        if path in paths:
            continue
        try:
            with Image.open(path, formats=("PNG",)) as image:
                is_ours = is_contact_sheet(image.info)
        except UnidentifiedImageError:
            continue
        if is_ours:
            with writing(path):
                path.unlink()
