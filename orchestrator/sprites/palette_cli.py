"""`spriteworks palette ...`: arguments and wiring only."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from .cli import DITHERINGS

if TYPE_CHECKING:
    from comfy_nodes.formats.palettes import Palette

    from .files import PictureResult
    from .palettes import PaintedFile, RecolouredFile

app = typer.Typer(
    name="palette",
    help="Show, find and convert palettes, paint pictures with them, and swap their ramps.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

_Pictures = Annotated[
    list[Path], typer.Argument(metavar="FILE|DIR...", help="Pictures, and folders of pictures.")
]
_Palette = Annotated[
    str,
    typer.Argument(
        metavar="P", help="A name as pico-8, a palette file, or hex colours (#1a1c2c,#5d275d)."
    ),
]
_Out = Annotated[Path, typer.Option(metavar="DIR", help="Where the results go, as NAME.png.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON, alone, on standard output.")]


@app.command("list", epilog="Example: spriteworks palette list")
def list_palettes(as_json: _Json = False) -> None:
    """List the well-known palettes, with their authors and where their colours are published."""
    from comfy_nodes.formats.well_known import WELL_KNOWN

    from .palettes import hex_list
    from .shown import print_json

    if as_json:
        rows = [
            {
                "name": name,
                "author": one.author,
                "source": one.source,
                "colours": list(hex_list(one.palette)),
            }
            for name, one in WELL_KNOWN.items()
        ]
        print_json(rows)
        return
    for name, one in WELL_KNOWN.items():
        print(f"{name:<16}{len(one.palette.colours):>3} colours  {one.author}; {one.source}")


@app.command(
    epilog="Example: spriteworks palette show sweetie-16 --ramps. Without --ramps it is a .hex "
    "file: spriteworks palette show pico-8 > pico-8.hex"
)
def show(
    palette: _Palette,
    ramps: Annotated[
        bool,
        typer.Option("--ramps", help="Print the ramps, a line each: NAME, dark to light."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print {name, colours, ramps: {NAME: colours}}.")
    ] = False,
) -> None:
    """Print the colours of a palette."""
    from comfy_nodes.ops.palette import named_ramps

    from .finishing import as_palette
    from .palettes import hex_list, read_palette
    from .shown import print_json

    found = read_palette(palette)
    if not ramps and not as_json:
        _print_hex(found)
        return
    named = {name: hex_list(as_palette(ramp)) for name, ramp in named_ramps(found.array()).items()}
    if as_json:
        print_json({"name": found.name, "colours": hex_list(found), "ramps": named})
        return
    for name, colours in named.items():
        print(f"{name:<10}{' '.join(colours)}")


@app.command(
    epilog="Example: spriteworks palette find sprites --colours 16 --out hero.gpl. Without --out "
    "the colours are printed."
)
def find(
    pictures: _Pictures,
    colours: Annotated[
        int, typer.Option(metavar="N", help="At most so many colours, 1 to 256.")
    ] = 16,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where the palette goes: NAME.hex, .gpl, .pal, .ase or .png."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print {name, colours}, alone, on standard output.")
    ] = False,
) -> None:
    """Find one palette for all the pictures."""
    from ..screen import Bar, screen_on
    from . import palettes
    from .shown import print_json

    if out is not None:
        palettes.format_of(out)  # before all pictures are looked at
    with screen_on(sys.stderr) as screen:
        found = palettes.find_palette(
            pictures,
            colours,
            looked=lambda done, total: screen.show(Bar("looking for colours", done, total)),
        )
    if out is not None:
        found = palettes.called(found, out.stem)
        palettes.write_palette(found, out)
    if as_json:
        print_json({"name": found.name, "colours": palettes.hex_list(found)})
    elif out is not None:
        print(out)
    else:
        _print_hex(found)


@app.command(epilog="Example: spriteworks palette convert hero.ase hero.gpl")
def convert(
    palette: _Palette,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="NAME.hex, .gpl, .pal, .ase or .png.")
    ],
) -> None:
    """Write a palette in another format, which the name of the file says."""
    from .palettes import format_of, read_palette, write_palette

    format_of(file)
    write_palette(read_palette(palette), file)
    print(file)


@app.command(
    epilog="Example: spriteworks palette apply sprites --palette game-boy --out handheld --dither "
    "bayer-4"
)
def apply(
    pictures: _Pictures,
    out: _Out,
    palette: Annotated[
        str,
        typer.Option(
            metavar="P",
            help="A name as pico-8, a palette file, hex colours, or how many colours to find, the "
            "same for all pictures.",
        ),
    ],
    dither: Annotated[
        str, typer.Option(metavar=DITHERINGS, help="How colours are mixed that the palette lacks.")
    ] = "none",
    own_palette: Annotated[
        bool, typer.Option("--own-palette", help="Find colours for each picture by itself.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print a list of {file, colours, palette}, or {file, error}."),
    ] = False,
) -> None:
    """Paint pictures at their true size with a palette; for fake pixels, `snap` has --palette."""
    from ..screen import Bar, screen_on
    from . import palettes
    from .shown import end, report_on

    with screen_on(sys.stderr) as screen:
        results = palettes.repaint(
            pictures,
            out,
            palette,
            dither=dither,
            own_palettes=own_palette,
            report=report_on(screen, "painting", _painted_line),
            looked=lambda done, total: screen.show(Bar("looking for colours", done, total)),
        )
    end(results, as_json)


@app.command(
    epilog="Example: spriteworks palette swap knights --ramp red=blue --ramp blue=red --out blues. "
    "`palette show P --ramps` names the ramps of a palette or a PNG; hex colours are a ramp, too: "
    "--ramp red=#14213d,#4361ee,#a9d6e5"
)
def swap(
    pictures: _Pictures,
    out: _Out,
    ramps: Annotated[
        list[str],
        typer.Option(
            "--ramp",
            metavar="OLD=NEW",
            help="A ramp and the one that takes its place, by name or as hex colours; may be "
            "repeated.",
        ),
    ],
    palette: Annotated[
        str | None,
        typer.Option(metavar="P", help="Whose ramps the names mean; else the pictures' own."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a list of {file, changed}, or {file, error}.")
    ] = False,
) -> None:
    """Re-colour pictures: each colour of a ramp becomes that of another, dark to dark."""
    from ..screen import screen_on
    from . import palettes
    from .shown import end, report_on

    pairs = [_pair(text) for text in ramps]
    with screen_on(sys.stderr) as screen:
        report = report_on(screen, "swapping", _swapped_line)
        results = palettes.swap_ramps(pictures, out, pairs, palette=palette, report=report)
    end(results, as_json)


def _pair(text: str) -> tuple[str, str]:
    old, sign, new = text.partition("=")
    if not sign or not old.strip() or not new.strip():
        raise UsageError(f"--ramp {text} is no pair of ramps; give OLD=NEW, such as red=blue")
    return old, new


def _painted_line(result: PaintedFile) -> str:
    return _line(result, f"{result.colours} colours")


def _swapped_line(result: RecolouredFile) -> str:
    changed = f"{result.changed} pixels changed" if result.changed else "has no such colour"
    return _line(result, changed)


def _line(result: PictureResult, done: str) -> str:
    return f"{result.file}: {done}" if result.ok else f"error: {result.error}"


def _print_hex(palette: Palette) -> None:
    for red, green, blue in palette.colours:
        print(f"{red:02x}{green:02x}{blue:02x}")
