"""Tiled: a tileset (.tsx) over a grid of all frames (doc.mapeditor.org, "TMX Map Format").

A tile is a frame on the common canvas of all; its name is a property. An animation is of its first
frame's tile. LDtk and others that cut a grid read the same picture.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from ...ops.frames import Animation
from ...ops.sheet import Sheet, in_grid
from .files import Files, png


def write(sheet: Sheet, name: str) -> Files:
    """NAME-tiles.png and NAME.tsx."""
    columns = math.ceil(math.sqrt(len(sheet.frames)))
    grid = in_grid(
        sheet.frames,
        sheet.animations,
        columns=columns,
        padding=sheet.padding,
        extrude=sheet.extrude,
    )
    lines = _lines(grid, name, columns)
    return {
        f"{name}-tiles.png": png(grid.pages[0]),
        f"{name}.tsx": ("\n".join(lines) + "\n").encode("utf-8"),
    }


def _lines(grid: Sheet, name: str, columns: int) -> list[str]:
    height, width = grid.pages[0].shape[:2]
    tile = grid.frames[0].source
    spacing = grid.padding + 2 * grid.extrude
    # Tiled counts the empty cells at the end, too
    cells = columns * math.ceil(len(grid.frames) / columns)
    head = (
        f'<tileset version="1.8" name={_quoted(name)} tilewidth="{tile[0]}" '
        f'tileheight="{tile[1]}" spacing="{spacing}" margin="{grid.extrude}" '
        f'tilecount="{cells}" columns="{columns}" objectalignment="bottom">'
    )
    image = f' <image source={_quoted(name + "-tiles.png")} width="{width}" height="{height}"/>'
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', head, image]
    # a tile has one animation: of two that begin with one frame the first
    animated: dict[str, Animation] = {}
    for one in grid.animations:
        animated.setdefault(one.played[0], one)
    ids = {frame.name: index for index, frame in enumerate(grid.frames)}
    durations = [frame.duration for frame in grid.frames]
    for frame in grid.frames:
        lines += [f' <tile id="{ids[frame.name]}">', "  <properties>"]
        lines += [f'   <property name="name" value={_quoted(frame.name)}/>', "  </properties>"]
        if frame.name in animated:
            lines += _animation(animated[frame.name], ids, durations)
        lines.append(" </tile>")
    return [*lines, "</tileset>"]


def _animation(animation: Animation, ids: dict[str, int], durations: Sequence[int]) -> list[str]:
    tiles = [ids[frame] for frame in animation.played]
    return [
        "  <animation>",
        *(f'   <frame tileid="{tile}" duration="{durations[tile]}"/>' for tile in tiles),
        "  </animation>",
    ]


def _quoted(text: str) -> str:
    """A value of an attribute. `xml.sax` would load what ComfyUI has no use for."""
    escaped = html.escape(text).replace("\n", "&#10;").replace("\t", "&#9;").replace("\r", "&#13;")
    return f'"{escaped}"'
