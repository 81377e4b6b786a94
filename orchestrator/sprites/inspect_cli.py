"""`spriteworks inspect` and `spriteworks mend`: arguments and wiring only."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError

if TYPE_CHECKING:
    from comfy_nodes.ops.measures.taking import Reading

    from .inspecting import Inspected, Inspection
    from .mending import MendedFile

INSPECT_EPILOG = "Example: spriteworks inspect sprites --palette 16"
MEND_EPILOG = "Example: spriteworks mend generated --out sprites --palette pico-8"

_Pictures = Annotated[
    list[Path], typer.Argument(metavar="FILE|DIR...", help="Pictures, and folders of pictures.")
]
_Palette = Annotated[
    str | None,
    typer.Option(
        metavar="P",
        help="The palette that they shall have: a name as pico-8, a palette file, hex colours, or "
        "how many colours at most.",
    ),
]
_Key = Annotated[
    str | None,
    typer.Option(
        metavar="COLOUR", help="The background's colour (#1a2b3c), where a picture hides none."
    ),
]


def inspect(
    pictures: _Pictures,
    frames: Annotated[
        bool,
        typer.Option(
            "--frames", help="Each folder is one animation; files named singly are one, too."
        ),
    ] = False,
    tile: Annotated[
        bool, typer.Option("--tile", help="They are tiles, to be laid beside themselves.")
    ] = False,
    cell: Annotated[
        str | None, typer.Option(metavar="WxH", help="They are sheets of cells of that size in px.")
    ] = None,
    guides: Annotated[
        str | None,
        typer.Option(
            metavar="L,R,T,B",
            help="They are panels to be stretched, with borders of so many px that are not.",
        ),
    ] = None,
    palette: _Palette = None,
    key: _Key = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print {passed, pictures: [{file, passed, measures: [{name, value, passed, min, "
            "max, mend}]}], frames, sets}.",
        ),
    ] = False,
) -> None:
    """Measure sprites, and name the command that mends each fault; exit code 1 where one fails."""
    from ..screen import Bar, screen_on
    from . import inspecting

    size, borders = _numbers("--cell", cell, 2), _numbers("--guides", guides, 4)
    with screen_on(sys.stderr) as screen:
        found = inspecting.inspect(
            pictures,
            frames=frames,
            tile=tile,
            cell=None if size is None else (size[0], size[1]),
            guides=None if borders is None else (borders[0], borders[1], borders[2], borders[3]),
            palette=palette,
            key=key,
            report=lambda _, done, total: screen.show(Bar("measuring", done, total)),
        )
    if as_json:
        print(json.dumps(found.to_json(), indent=2))
    else:
        print("\n".join(_told(found)))
    if not found.passed:
        raise typer.Exit(1)


def mend(
    pictures: _Pictures,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the results go, as NAME.png.")],
    palette: _Palette = None,
    key: _Key = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print a list of {file, saved, passed, steps, before, after}, or {file, error}.",
        ),
    ] = False,
) -> None:
    """Do what `inspect` names to each picture, and no more; exit code 1 where a fault is left."""
    from ..screen import Bar, screen_on
    from . import mending

    with screen_on(sys.stderr) as screen:
        results = mending.mend(
            pictures,
            out,
            palette=palette,
            key=key,
            report=lambda _, done, total: screen.show(Bar("mending", done, total)),
        )
    if as_json:
        print(json.dumps([result.to_json() for result in results], indent=2))
    else:
        for result in results:
            print("\n".join(_mended(result)))
    if not all(result.passed for result in results):
        raise typer.Exit(1)


def _numbers(option: str, text: str | None, count: int) -> list[int] | None:
    if text is None:
        return None
    parts = re.split(r"\s*[xX,]\s*", text.strip())
    if len(parts) != count or not all(re.fullmatch(r"\d{1,6}", part) for part in parts):
        like = "32x32" if count == 2 else "4,4,4,4"
        raise UsageError(f"{option} {text} is not {count} whole numbers; write them as {like}")
    return [int(part) for part in parts]


def _told(found: Inspection) -> list[str]:
    kinds = [(found.pictures, ""), (found.frames, " (frames)")]
    if found.sets is not None:
        kinds.append(((found.sets,), " (all sets)"))
    lines = [line for some, kind in kinds for one in some for line in _table(one, kind)]
    bad = sum(not one.passed for one in found.pictures)
    summary = f"{len(found.pictures)} measured, {bad} with faults"
    if found.frames:
        sets = (*found.frames, *(() if found.sets is None else (found.sets,)))
        bad = sum(not one.passed for one in sets)
        summary += f"; as frames, {bad} with faults" if bad else "; as frames, they pass"
    lines.append(summary)
    return lines


def _table(one: Inspected, kind: str) -> list[str]:
    if one.error:
        return [f"error: {one.error}"]
    if one.passed:
        return [f"{one.file}{kind}: passes"]
    rows = [(*_row(reading), one.command(reading)) for reading in one.failed]
    return [f"{one.file}{kind}:", *_aligned(rows)]


def _row(reading: Reading) -> tuple[str, str, str]:
    value = "-" if reading.value is None else f"{reading.value:.4g}"
    return reading.measure.name, value, reading.bound


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _mended(result: MendedFile) -> list[str]:
    if not result.ok:
        return [f"error: {result.error}"]
    done = ", ".join(result.steps) or ("passes" if result.passed else "nothing that mends it here")
    after = {one.measure.name: one for one in result.after}
    rows = [
        (name, value, bound, "->", _row(after[name])[1], "" if after[name].passed else "left")
        for name, value, bound in (_row(one) for one in result.before)
        if not (after[name].passed and _passed(result.before, name))
    ]
    return [f"{result.saved}: {done}", *(_aligned(rows) if rows else [])]


def _passed(readings: tuple[Reading, ...], name: str) -> bool:
    return all(one.passed for one in readings if one.measure.name == name)
