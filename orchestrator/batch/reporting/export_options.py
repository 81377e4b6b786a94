"""A manifest's `export` as the options of what finishes pictures and makes sheets of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..logic.manifest.manifest import Export, SheetExport

if TYPE_CHECKING:
    from comfy_nodes.formats.palettes import Palette

    from ...sprites.finishing import Finish
    from ...sprites.sheets import SheetOptions


def sheet_options(sheet: SheetExport, aligned: Sequence[int] | None) -> SheetOptions:
    """How the sheet is made; `aligned` is the point, in px, at which all pictures stand."""
    from ...sprites.sheets import SheetOptions

    return SheetOptions(
        formats=sheet.formats,
        columns=sheet.columns,
        padding=sheet.padding,
        extrude=sheet.extrude,
        power_of_two=sheet.power_of_two,
        max_size=sheet.max_size,
        rotate=sheet.rotate,
        near=sheet.near,
        pivot=sheet.pivot or point(aligned) or "bottom",
        fps=sheet.fps,
        pingpong=frozenset(sheet.pingpong),
        once=frozenset(sheet.once),
    )


def finish_of(options: Export) -> Finish:
    """What becomes of each picture."""
    from comfy_nodes.ops.cutout import CutoutOptions as Cutout

    from ...sprites.finishing import Finish, KnownGrid, dithering

    return Finish(
        grid=KnownGrid() if options.snap else None,
        cutout=Cutout() if options.cutout else None,
        palette=_colours(options.palette),
        dither=dithering(options.dither),
    )


def _colours(palette: int | str | list[str] | None) -> Palette | int | None:
    """The palette as a plan keeps it: a number, or a list of its colours, however many."""
    if isinstance(palette, list):
        from comfy_nodes.formats.palettes import Palette

        found = (bytes.fromhex(colour.removeprefix("#")) for colour in palette)
        return Palette("", tuple((red, green, blue) for red, green, blue in found))
    assert not isinstance(palette, str)
    return palette


def point(pair: Sequence[int] | None) -> tuple[int, int] | None:
    """Width and height, or x and y, as a record has them."""
    return None if pair is None else (pair[0], pair[1])
