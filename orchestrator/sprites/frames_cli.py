"""`spriteworks frames` and `tile`: arguments and wiring only."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError

if TYPE_CHECKING:
    from .frames import AlignedFile, AlignedFrames
    from .tiles import TileFile

FRAMES_EPILOG = "Example: spriteworks frames walk --out aligned --gif walk.gif --fps 12"
TILE_EPILOG = "Example: spriteworks tile grass.png --out tiles"


def frames(
    pictures: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE|DIR...", help="The frames, cut out; each folder is one animation."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the frames go, as NAME.png.")],
    row: Annotated[
        int,
        typer.Option(
            "--frames",
            metavar="N",
            min=1,
            max=256,
            help="Each picture is a row of N frames, side by side, and one animation.",
        ),
    ] = 1,
    pivot: Annotated[
        str,
        typer.Option(
            metavar="ground|centre|box", help="Which point of the sprite stays at its place."
        ),
    ] = "ground",
    keep_height: Annotated[
        bool,
        typer.Option("--keep-height", help="Leave each frame at its height, as in a jump."),
    ] = False,
    one_scale: Annotated[
        bool,
        typer.Option(
            "--one-scale", help="Refuse a frame that is over a tenth higher or lower than most."
        ),
    ] = False,
    margin: Annotated[
        int, typer.Option(metavar="N", min=0, help="px left empty around all frames.")
    ] = 0,
    canvas: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Size of the frames; else the smallest that holds all."),
    ] = None,
    fps: Annotated[float | None, typer.Option(metavar="N", help="Frames a second.")] = None,
    duration: Annotated[
        int | None, typer.Option(metavar="MS", help="How long a frame is shown; 100 by default.")
    ] = None,
    direction: Annotated[
        str,
        typer.Option(
            metavar="forward|reverse|pingpong|pingpong_reverse",
            help="How the animated pictures run over the frames.",
        ),
    ] = "forward",
    once: Annotated[bool, typer.Option("--once", help="Show them once, not for ever.")] = False,
    gif: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.gif", help="Write a GIF; of several animations FILE-NAME.gif of each."
        ),
    ] = None,
    apng: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Write an animated PNG in the same way."),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print {canvas, pivot, frames: [{file, saved, moved, reduced, duration, same_as}],"
            " animated: [{saved, durations}]}.",
        ),
    ] = False,
) -> None:
    """Align the frames of animations: one ground point, one scale, one canvas."""
    from ..screen import Bar, screen_on
    from .frames import align_frames

    size = None if canvas is None else _size(canvas)
    with screen_on(sys.stderr) as screen:
        aligned = align_frames(
            pictures,
            out,
            frames=row,
            pivot=pivot,
            keep_height=keep_height,
            one_scale=one_scale,
            margin=margin,
            canvas=size,
            fps=fps,
            duration=duration,
            direction=direction,
            loop=not once,
            gif=gif,
            apng=apng,
            looked=lambda done, total: screen.show(Bar("reading", done, total)),
        )
        for line in _lines(aligned):
            screen.say(line)
    if as_json:
        print(json.dumps(aligned.to_json(), indent=2))
    else:
        for saved in aligned.saved:
            print(saved)


def _size(text: str) -> tuple[int, int]:
    from .parsing import size_of

    found = size_of(text)
    if found is None:
        raise UsageError(f"--canvas {text} is no size; give 64x48")
    return found


def _lines(aligned: AlignedFrames) -> list[str]:
    (width, height), (x, y) = aligned.canvas, aligned.pivot
    lines = [_frame_line(one) for one in aligned.frames]
    asked = {one.duration for one in aligned.frames}
    for shown in aligned.animated:
        if not set(shown.durations) <= asked:
            steps = ", ".join(str(one) for one in sorted(set(shown.durations)))
            lines.append(f"{shown.saved}: shows frames for {steps} ms; a GIF has steps of 10 ms")
    return [*lines, f"{len(aligned.frames)} frames of {width}x{height}, pivot {x},{y}"]


def _frame_line(one: AlignedFile) -> str:
    what = []
    if one.reduced > 1:
        what.append(f"made {one.reduced} times smaller")
    if any(one.moved):
        what.append(f"was {one.moved[0]:+d},{one.moved[1]:+d} off")
    if one.same_as is not None:
        what.append(f"same as {one.same_as}")
    return f"{one.file}: {', '.join(what) or 'at its place'}"


def tile(
    pictures: Annotated[
        list[Path],
        typer.Argument(metavar="FILE|DIR...", help="Tiles, and folders of tiles."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the tiles go, as NAME.png.")],
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print a list of {file, saved, closed, before, after, cut, changed}, or "
            "{file, error}.",
        ),
    ] = False,
) -> None:
    """Let tiles go on over their edges, in their own pixels."""
    from ..screen import screen_on
    from .shown import end, report_on
    from .tiles import close_seams

    with screen_on(sys.stderr) as screen:
        report = report_on(screen, "closing seams", _tile_line)
        results = close_seams(pictures, out, report=report)
    end(results, as_json, lambda result: result.closed)


def _tile_line(result: TileFile) -> str:
    if not result.ok:
        return f"error: {result.error}"
    if result.before is None or result.after is None:
        return f"{result.file}: too small to have a seam"
    if not result.changed:
        return f"{result.file}: seam {result.before:.2f}, as it was"
    doubt = "" if result.closed else "; a seam is left: draw it anew there"
    return f"{result.file}: seam {result.before:.2f}, now {result.after:.2f}{doubt}"
