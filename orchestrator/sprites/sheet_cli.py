"""`spriteworks sheet`: arguments and wiring only."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from .sheets import MadeSheet

SHEET_EPILOG = "Example: spriteworks sheet sprites --out game/hero --for phaser,godot --fps 12"
_KNOWN = (
    "png|phaser|pixi|godot|unity|aseprite|tiled|libgdx|gamemaker|texturepacker|"
    "texturepacker-array|contact"
)


def sheet(
    pictures: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE|DIR...",
            help="Pictures, and folders of pictures; a folder inside of one is an animation.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="NAME", help="The sheet's name, with the folder it goes into.")
    ],
    formats: Annotated[
        str,
        typer.Option("--for", metavar=f"{_KNOWN},...", help="Which engines and programs read it."),
    ] = "texturepacker",
    columns: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="A grid of equal cells, so many in a row."),
    ] = None,
    padding: Annotated[
        int | None,
        typer.Option(metavar="PX", min=0, help="Between frames; 2 by default, 0 in a grid."),
    ] = None,
    extrude: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            min=0,
            help="How far the edge of a frame is repeated around it; 1 by default, 0 in a grid.",
        ),
    ] = None,
    power_of_two: Annotated[
        bool, typer.Option("--power-of-two", help="Pages with sides of 64, 128, 256, ... px.")
    ] = False,
    max_size: Annotated[
        int, typer.Option(metavar="PX", min=1, help="Longest side of a page; then one more.")
    ] = 4096,
    no_trim: Annotated[
        bool, typer.Option("--no-trim", help="Keep what is transparent around each frame.")
    ] = False,
    rotate: Annotated[
        bool,
        typer.Option("--rotate", help="Frames may be turned by 90 degrees; not all --for take it."),
    ] = False,
    near: Annotated[
        float,
        typer.Option(
            metavar="D",
            help="Frames with no pixel farther apart share one picture; in OKLab, alpha of 1.",
        ),
    ] = 0.0,
    pivot: Annotated[
        str,
        typer.Option(
            metavar="bottom|center|X,Y",
            help="The point of a frame that stands on the ground; px from its top left corner.",
        ),
    ] = "bottom",
    fps: Annotated[
        float, typer.Option(metavar="N", help="Frames a second, of all animations.")
    ] = 10.0,
    pingpong: Annotated[
        list[str] | None,
        typer.Option(metavar="ANIMATION", help="Play it there and back; may be repeated."),
    ] = None,
    once: Annotated[
        list[str] | None,
        typer.Option(metavar="ANIMATION", help="Do not repeat it; may be repeated."),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print {name, files, pages, frames, unique, animations, fill}.",
        ),
    ] = False,
) -> None:
    """Put pictures on a sheet, and write it as game engines read it."""
    from .sheets import make_sheet

    made = make_sheet(
        pictures,
        out,
        formats=formats,
        columns=columns,
        padding=padding,
        extrude=extrude,
        power_of_two=power_of_two,
        max_size=max_size,
        trim=not no_trim,
        rotate=rotate,
        near=near,
        pivot=pivot,
        fps=fps,
        pingpong=pingpong or (),
        once=once or (),
    )
    print(_summary(made), file=sys.stderr)
    if as_json:
        print(json.dumps(made.to_json(), indent=2))
    else:
        for file in made.files:
            print(file)


def _summary(made: MadeSheet) -> str:
    sizes = ", ".join(f"{width}x{height}" for width, height in made.pages)
    twice = made.frames - made.unique
    same = f" ({twice} the same as another)" if twice else ""
    frames = "1 frame" if made.frames == 1 else f"{made.frames} frames"
    return f"{made.name}: {frames}{same} on {sizes}, {made.fill:.0%} filled"
