"""Aseprite: its own files, and the JSON that it writes beside an exported sheet.

The file is described at github.com/aseprite/aseprite/blob/main/docs/ase-file-specs.md: a header,
then frames of chunks, little endian. Ours has one layer, a cel a frame (linked where a frame is the
same as an earlier one), tags for animations, a slice named "pivot", and a palette where there are
at most 256 colours.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import BadInput
from ...ops.frames import Animation, Direction, Frame, of_one_set, without_hidden
from ...ops.sheet import Sheet, common_canvas, ground
from .files import Files, as_json
from .texturepacker import APP, entry, tags

_DIRECTIONS = list(Direction)  # in the order of Aseprite's numbers
_LAYER, _CEL, _PROFILE, _TAGS, _PALETTE, _SLICE = 0x2004, 0x2005, 0x2007, 0x2018, 0x2019, 0x2022
_LONGEST = 65_535  # of a side in px, of a duration in ms, and of frames


def write(sheet: Sheet, name: str) -> Files:
    """NAME.aseprite, and with it the JSON of a sheet of one page, NAME.aseprite.json."""
    made = {f"{name}.aseprite": picture(sheet.frames, sheet.animations)}
    return made if len(sheet.pages) > 1 else {**made, **sheet_json(sheet, name)}


def sheet_json(sheet: Sheet, name: str) -> Files:
    """NAME.aseprite.json of a sheet of one page, with the frames named "0", "1", and so on.

    Phaser's `createFromAseprite` makes an empty animation, and says nothing, for other names.
    """
    if len(sheet.pages) > 1:
        raise BadInput("Aseprite's JSON is for a sheet of one page.")
    frames = {
        str(index): entry(frame, at)
        for index, (frame, at) in enumerate(zip(sheet.frames, sheet.placements, strict=True))
    }
    height, width = sheet.pages[0].shape[:2]
    meta: dict[str, Any] = {
        "app": APP,
        "version": "1.3",
        "image": f"{name}.png",
        "format": "RGBA8888",
        "size": {"w": width, "h": height},
        "scale": "1",
        "frameTags": tags(sheet),
        "layers": [{"name": "sprite", "opacity": 255, "blendMode": "normal"}],
        "slices": [],
    }
    return {f"{name}.aseprite.json": as_json({"frames": frames, "meta": meta})}


def picture(frames: Sequence[Frame], animations: Sequence[Animation] = ()) -> bytes:
    """An .aseprite file of the frames on one canvas, their ground points at one place.

    An animation becomes a tag where its frames stand in order; Aseprite has no other. Raises
    BadInput for what the format cannot hold.
    """
    of_one_set(frames)
    canvas = common_canvas(frames)
    if len(frames) > _LONGEST or max(canvas.size) > _LONGEST:
        raise BadInput("Aseprite's files have at most 65,535 frames, and px to a side.")
    blocks = []
    known: dict[tuple[int, int, tuple[int, ...], bytes], int] = {}
    for index, (frame, move) in enumerate(zip(frames, canvas.moves, strict=True)):
        x, y = frame.offset[0] + move[0], frame.offset[1] + move[1]
        key = x, y, frame.picture.shape, frame.picture.tobytes()
        chunks = _first(frames, animations, canvas.moves) if index == 0 else []
        chunks.append(_cel(frame, x, y, known.setdefault(key, index), index))
        blocks.append(_frame(frame, chunks))
    return _header(canvas.size, blocks)


def _header(size: tuple[int, int], blocks: Sequence[bytes]) -> bytes:
    body = b"".join(blocks)
    head = struct.pack(
        "<IHHHHHIHII4BHBBhhHH84x",
        128 + len(body),
        0xA5E0,
        len(blocks),
        *size,
        32,  # bits of a pixel
        1,  # the layer's opacity counts
        100,
        *(0, 0),
        *(0, 0, 0, 0),
        0,  # colours: told in the palette
        *(1, 1),  # a pixel is square
        *(0, 0, 16, 16),
    )
    return head + body


def _frame(frame: Frame, chunks: Sequence[bytes]) -> bytes:
    if frame.duration > _LONGEST:
        raise BadInput(f"Frame {frame.name}: Aseprite shows a frame for at most 65,535 ms.")
    body = b"".join(chunks)
    count = len(chunks)
    return struct.pack("<IHHHxxI", 16 + len(body), 0xF1FA, count, frame.duration, count) + body


def _first(
    frames: Sequence[Frame], animations: Sequence[Animation], moves: Sequence[tuple[int, int]]
) -> list[bytes]:
    """What the first frame says for all: colour profile, palette, layer, tags and pivot."""
    profile = _chunk(_PROFILE, struct.pack("<HHI8x", 1, 0, 0))  # sRGB
    layer = struct.pack("<HHHHHHB3x", 1 | 2, 0, 0, 0, 0, 0, 255) + _string("sprite")
    chunks = [profile, *_palette(frames), _chunk(_LAYER, layer)]
    found = _tags(frames, animations)
    if found:
        chunks.append(_chunk(_TAGS, struct.pack("<H8x", len(found)) + b"".join(found)))
    if any(frame.pivot is not None for frame in frames):
        chunks.append(_pivots(frames, moves))
    return chunks


def _palette(frames: Sequence[Frame]) -> list[bytes]:
    pixels = np.concatenate([without_hidden(frame.picture).reshape(-1, 4) for frame in frames])
    packed = np.unique(np.ascontiguousarray(pixels).view(">u4"))
    if len(packed) > 256:
        return []
    entries = b"".join(struct.pack("<H", 0) + int(colour).to_bytes(4, "big") for colour in packed)
    head = struct.pack("<III8x", len(packed), 0, len(packed) - 1)
    return [_chunk(_PALETTE, head + entries)]


def _tags(frames: Sequence[Frame], animations: Sequence[Animation]) -> list[bytes]:
    index = {frame.name: position for position, frame in enumerate(frames)}
    found = []
    for animation in animations:
        places = [index[frame] for frame in animation.frames]
        if places != list(range(places[0], places[-1] + 1)):
            continue
        direction = _DIRECTIONS.index(animation.direction)
        repeat = 0 if animation.loop else 1
        tag = struct.pack("<HHBH6x3xx", places[0], places[-1], direction, repeat)
        found.append(tag + _string(animation.name))
    return found


def _pivots(frames: Sequence[Frame], moves: Sequence[tuple[int, int]]) -> bytes:
    """A slice around each frame with its ground point, which Aseprite keeps in whole px."""
    keys = []
    for index, (frame, (x, y)) in enumerate(zip(frames, moves, strict=True)):
        at = (int(np.floor(side)) for side in ground(frame))
        keys.append(struct.pack("<IiiIIii", index, x, y, *frame.source, *at))
    head = struct.pack("<III", len(keys), 2, 0) + _string("pivot")
    return _chunk(_SLICE, head + b"".join(keys))


def _cel(frame: Frame, x: int, y: int, same_as: int, index: int) -> bytes:
    kind = 2 if same_as == index else 1
    head = struct.pack("<HhhBHh5x", 0, x, y, 255, kind, 0)
    if kind == 1:
        return _chunk(_CEL, head + struct.pack("<H", same_as))
    height, width = frame.picture.shape[:2]
    pixels = zlib.compress(frame.picture.tobytes(), 9)
    return _chunk(_CEL, head + struct.pack("<HH", width, height) + pixels)


def _chunk(kind: int, data: bytes) -> bytes:
    return struct.pack("<IH", 6 + len(data), kind) + data


def _string(text: str) -> bytes:
    data = text.encode("utf-8")
    return struct.pack("<H", len(data)) + data
