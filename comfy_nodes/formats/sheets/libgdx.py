"""libGDX: a .atlas as its TexturePacker writes it since 1.9.13 (`TextureAtlas.TextureAtlasData`).

A frame that ends in a number is a region with an index, so that `findRegions` gives them in order.
Offsets are from the left and from the bottom. `pivot` (whole px of the untrimmed frame, from its
top left corner) and `duration` (ms) are values of our own, which libGDX keeps in `region.names` and
`region.values`. A region with `rotate: 90` was turned counter-clockwise, where all others turn
clockwise (`TexturePacker.copy`, `TextureAtlas.AtlasSprite`), so such a sheet has pages of its own;
its bounds have the size of the frame, not of what it takes on the page.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import numpy as np

from ...ops.frames import Frame
from ...ops.sheet import PlacedFrame, Sheet, ground
from .files import Files, page_names, pages


def write(sheet: Sheet, name: str) -> Files:
    """NAME.png and NAME.atlas; NAME-libgdx.png where frames are rotated."""
    blocks = []
    known = Counter(_region_of(frame.name) for frame in sheet.frames)
    turned = any(at.rotated for at in sheet.placements)
    base = f"{name}-libgdx" if turned else name
    for page, image in enumerate(page_names(sheet, base)):
        height, width = sheet.pages[page].shape[:2]
        lines = [image, f"size: {width}, {height}", "format: RGBA8888"]
        lines += ["filter: Nearest, Nearest", "repeat: none"]
        for frame, at in zip(sheet.frames, sheet.placements, strict=True):
            if at.page == page:
                region = _region_of(frame.name)
                # walk_1 and walk_01 would be one region
                lines += _region(frame, at, region if known[region] == 1 else (frame.name, None))
        blocks.append("\n".join(lines) + "\n")
    made = pages(_turned_back(sheet) if turned else sheet, base)
    return {**made, f"{name}.atlas": "\n".join(blocks).encode("utf-8")}


def _turned_back(sheet: Sheet) -> Sheet:
    """The sheet with each rotated frame, and its edge, upside down at its place."""
    drawn = [page.copy() for page in sheet.pages]
    edge = sheet.extrude
    for page, x, y, (width, height) in {
        (at.page, at.x - edge, at.y - edge, at.on_page) for at in sheet.placements if at.rotated
    }:
        rows = slice(y, y + height + 2 * edge)
        columns = slice(x, x + width + 2 * edge)
        drawn[page][rows, columns] = np.rot90(sheet.pages[page][rows, columns], 2)
    return replace(sheet, pages=tuple(drawn))


def _region_of(frame: str) -> tuple[str, int | None]:
    """The name and the index of a frame's region."""
    found = re.fullmatch(r"(.*\D)[_ .-]?(\d{1,9})", frame)
    name = found[1].rstrip("_ .-") if found else ""
    return (name, int(found[2])) if found and name else (frame, None)


def _region(frame: Frame, at: PlacedFrame, region: tuple[str, int | None]) -> list[str]:
    name, index = region
    x, y = frame.offset
    width, height = frame.source
    below = height - y - at.height
    point = ground(frame)
    lines = [name] if index is None else [name, f"index: {index}"]
    lines += ["rotate: 90"] if at.rotated else []
    return [
        *lines,
        f"bounds: {at.x}, {at.y}, {at.width}, {at.height}",
        f"offsets: {x}, {below}, {width}, {height}",
        f"pivot: {round(point[0])}, {round(point[1])}",
        f"duration: {frame.duration}",
    ]
