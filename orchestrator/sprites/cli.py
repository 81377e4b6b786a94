"""`spriteworks snap` and `cutout`: arguments and wiring only."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError

if TYPE_CHECKING:
    from .cutting import CutFile
    from .snapping import SnappedFile

SNAP_EPILOG = (
    "Example: spriteworks snap generated --out sprites --cutout --palette 16. The background goes, "
    "and all sprites get the same 16 colours; without these options neither happens."
)
DITHERINGS = "none|bayer-2|bayer-4|bayer-8|floyd-steinberg"
CUTOUT_EPILOG = "Example: spriteworks cutout sprites --out cut --outline close"


def snap(
    pictures: Annotated[
        list[Path],
        typer.Argument(metavar="FILE|DIR...", help="Pictures, and folders of pictures."),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the true pixels go, as NAME.png.")
    ],
    size: Annotated[
        str | None,
        typer.Option(
            metavar="W[xH]", help="The true size, where it is known; the height follows else."
        ),
    ] = None,
    pitch: Annotated[
        float | None,
        typer.Option(metavar="P", help="Side of a fake pixel in px, where it is known."),
    ] = None,
    scale: Annotated[
        int, typer.Option(metavar="N", help="Enlarge each true pixel to NxN; for looking.")
    ] = 1,
    colour: Annotated[
        str,
        typer.Option(
            metavar="median|mode|k-centroid", help="How a cell gets its colour from its core."
        ),
    ] = "median",
    sequence: Annotated[
        bool,
        typer.Option(
            "--sequence", help="All are frames of one animation: one pitch, phase and size."
        ),
    ] = False,
    cutout: Annotated[
        bool, typer.Option("--cutout", help="Take away the plain background of the true pixels.")
    ] = False,
    palette: Annotated[
        str | None,
        typer.Option(
            metavar="P",
            help="Paint the true pixels: a name as pico-8, a palette file, hex colours, or how "
            "many colours to find, the same for all pictures.",
        ),
    ] = None,
    dither: Annotated[
        str,
        typer.Option(metavar=DITHERINGS, help="How colours are mixed that the palette lacks."),
    ] = "none",
    own_palette: Annotated[
        bool,
        typer.Option("--own-palette", help="Find colours for each picture by itself."),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Processes that work; one for each processor by default."
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print a list of {file, pitch, offset, width, height, confidence, sure, colours, "
            "alpha_binary}, with a palette {palette}, too, or {file, error}.",
        ),
    ] = False,
) -> None:
    """Find the grid of pictures of fake pixels, and write their true pixels."""
    from ..screen import Bar, screen_on
    from . import snapping
    from .processes import processors
    from .shown import end, report_on

    wanted = None if size is None else _size(size)
    with screen_on(sys.stderr) as screen:
        results = snapping.snap(
            pictures,
            out,
            size=wanted,
            pitch=pitch,
            scale=scale,
            colour=colour,
            sequence=sequence,
            cutout=cutout,
            palette=palette,
            dither=dither,
            own_palettes=own_palette,
            report=report_on(screen, "snapping", _line),
            looked=lambda done, total: screen.show(Bar("looking for colours", done, total)),
            jobs=jobs or processors(),
        )
    end(results, as_json)


def _size(text: str) -> tuple[int, int | None]:
    found = re.fullmatch(r"(\d{1,6})(?:[xX](\d{1,6}))?", text.strip())
    if found is None:
        raise UsageError(f"--size {text} is no size; give 32, or 32x48")
    return int(found[1]), None if found[2] is None else int(found[2])


def _line(result: SnappedFile) -> str:
    if not result.ok:
        return f"error: {result.error}"
    across, down = (f"{side:.2f}".rstrip("0").rstrip(".") for side in result.pitch)
    pitch = across if across == down else f"{across} x {down}"
    doubt = "" if result.sure else "; unsure: look at it, or give --size"
    return f"{result.file}: {result.width}x{result.height}, pitch {pitch}{doubt}"


def cutout(
    pictures: Annotated[
        list[Path],
        typer.Argument(metavar="FILE|DIR...", help="Pictures, and folders of pictures."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the sprites go, as NAME.png.")],
    tolerance: Annotated[
        float,
        typer.Option(
            metavar="T",
            help="How far a colour may be from the border's and still be background, in OKLab, "
            "where small steps lead there; a sharp step may be a fifth of it.",
        ),
    ] = 0.15,
    smallest_hole: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Enclosed background goes from this share of the picture on; 1: never.",
        ),
    ] = 0.004,
    holes_by_size: Annotated[
        bool,
        typer.Option(
            "--holes-by-size",
            help="Enclosed areas go by size alone, also those that look like a light part of the "
            "sprite.",
        ),
    ] = False,
    no_despill: Annotated[
        bool,
        typer.Option(
            "--no-despill",
            help="Leave edge pixels that are mixed with the background; else they go, or get the "
            "sprite's colour.",
        ),
    ] = False,
    smallest_part: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Smaller parts, as a share of the largest, are specks."),
    ] = 0.01,
    soft: Annotated[
        bool, typer.Option("--soft", help="Half-transparent edges; not for pixel art.")
    ] = False,
    outline: Annotated[
        str,
        typer.Option(
            metavar="none|close|inside|outside",
            help="Close short gaps in the outline, or draw one of a pixel inside or outside.",
        ),
    ] = "none",
    outline_colour: Annotated[
        str | None, typer.Option(metavar="HEX", help="Its colour; else the sprite's own.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Let a model of rembg find the background, which is the extra rembg. Its models "
            "come from GitHub and are never downloaded here.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print a list of {file, width, height, box, there, alpha_binary}, or "
            "{file, error}.",
        ),
    ] = False,
) -> None:
    """Cut sprites at their true size out of their plain background."""
    from ..screen import screen_on
    from . import cutting
    from .shown import end, report_on

    with screen_on(sys.stderr) as screen:
        results = cutting.cut_out(
            pictures,
            out,
            tolerance=tolerance,
            smallest_hole=smallest_hole,
            keep_light=not holes_by_size,
            despill=not no_despill,
            smallest_part=smallest_part,
            soft=soft,
            outline=outline,
            outline_colour=outline_colour,
            model=model,
            report=report_on(screen, "cutting out", _cut_line),
        )
    end(results, as_json)


def _cut_line(result: CutFile) -> str:
    if not result.ok:
        return f"error: {result.error}"
    left, top, right, bottom = result.box
    return f"{result.file}: {right - left}x{bottom - top} of {result.width}x{result.height}"
