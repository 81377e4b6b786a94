"""Animated GIFs of exact colours (CompuServe, Graphics Interchange Format, version 89a, 1990).

Each frame is whole and is taken away before the next, so that what is transparent is so in every
viewer. Pillow packs the pixels (LZW); what is around them is written here, because Pillow joins
frames, cuts them and makes palettes of its own.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

import numpy as np
from PIL import Image

from ..errors import BadInput
from ..ops.arrays import Bytes
from ..ops.color import pack, unpack
from ..ops.frames import Frame
from .animated import pictures_of

SHORTEST = 20
"""Shortest duration, in ms, that browsers show as it is: below it they take 100."""

STEP = 10
"""Durations are multiples of this many ms."""

_LONGEST = 655_350
_COLOURS = 255
# The number that is transparent is the last, so that colours keep theirs.
_TRANSPARENT = 255
# Disposal 2, "restore to background color", and the flag that a number is transparent.
_FLAGS = 2 << 2 | 1
_HAS_TABLE = 0x80 | 7
_END = b"\x3b"


def write(frames: Sequence[Frame], loop: bool = True) -> bytes:
    """A GIF of frames in the order in which they are shown, for ever or once.

    Durations become steps of 10 ms, as `durations` says. All frames share one table of colours
    where they have at most 255 together; else each has its own. Raises BadInput for a frame of more
    colours or with half-transparent pixels, which a GIF does not have, and for frames of several
    sizes.
    """
    pictures = pictures_of(frames)
    _check_alpha(frames, pictures)
    tables = _tables(frames, pictures)
    shared = tables[0] if all(table is tables[0] for table in tables) else None
    height, width = pictures.shape[1:3]
    parts = [
        b"GIF89a" + struct.pack("<HHBBB", width, height, 0 if shared is None else _HAS_TABLE, 0, 0)
    ]
    if shared is not None:
        parts.append(_table(shared))
    if loop:
        parts.append(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")
    for picture, table, duration in zip(pictures, tables, durations(frames), strict=True):
        parts.append(struct.pack("<BBBBHBB", 0x21, 0xF9, 4, _FLAGS, duration // STEP, 255, 0))
        own = 0 if shared is not None else _HAS_TABLE
        parts.append(struct.pack("<BHHHHB", 0x2C, 0, 0, width, height, own))
        if shared is None:
            parts.append(_table(table))
        parts.append(_packed(_numbers(picture, table)))
    return b"".join(parts) + _END


def durations(frames: Sequence[Frame]) -> tuple[int, ...]:
    """How long a GIF shows each frame, in ms: steps of 10, at least 20, the sum as near as it goes.

    What one frame is too long the next is shorter, so that 24 frames of 41.67 ms take a second.
    """
    rounded, wanted, given = [], 0, 0
    for frame in frames:
        wanted += frame.duration
        steps = (wanted - given + STEP // 2) // STEP
        rounded.append(min(max(steps * STEP, SHORTEST), _LONGEST))
        given += rounded[-1]
    return tuple(rounded)


def _check_alpha(frames: Sequence[Frame], pictures: Bytes) -> None:
    half = ((pictures[..., 3] > 0) & (pictures[..., 3] < 255)).any(axis=(1, 2))
    if half.any():
        raise BadInput(
            f"Frame {frames[int(np.argmax(half))].name} has half-transparent pixels, which a GIF "
            "does not have; write an APNG, or cut it out without soft edges."
        )


def _tables(frames: Sequence[Frame], pictures: Bytes) -> list[Bytes]:
    """The colours of each frame, uint8 [N, 3]; the very same table for all where one holds them."""
    own = [np.unique(pack(picture[picture[..., 3] > 0])) for picture in pictures]
    every = np.unique(np.concatenate(own))
    if len(every) <= _COLOURS:
        return [unpack(every)] * len(own)
    for frame, table in zip(frames, own, strict=True):
        if len(table) > _COLOURS:
            raise BadInput(
                f"Frame {frame.name} has {len(table)} colours, and a GIF holds {_COLOURS} and "
                "transparency; give it a palette first, or write an APNG."
            )
    return [unpack(table) for table in own]


def _table(colours: Bytes) -> bytes:
    """A colour table of 256 entries; what is not used is black."""
    return colours.tobytes().ljust(3 * 256, b"\0")


def _numbers(picture: Bytes, table: Bytes) -> Bytes:
    """The number of each pixel's colour in the table, which is sorted, uint8 [H, W]."""
    numbers = np.searchsorted(pack(table), pack(picture[..., :3])).astype(np.uint8)
    return np.where(picture[..., 3] > 0, numbers, np.uint8(_TRANSPARENT))


def _packed(numbers: Bytes) -> bytes:
    """The pixels as a GIF has them: how many bits, blocks of LZW, and a block of none."""
    written = io.BytesIO()
    Image.fromarray(numbers).save(written, "GIF", optimize=False, interlace=0)
    content = written.getvalue()
    # a header of 13 bytes, its table, and one image: a descriptor of 10 bytes, and perhaps a table
    at = 13 + _table_length(content[10])
    while content[at] == 0x21:
        at += 2
        while content[at]:
            at += content[at] + 1
        at += 1
    at += 10 + _table_length(content[at + 9])
    return content[at : content.rindex(_END)]


def _table_length(flags: int) -> int:
    return 3 << (flags % 8 + 1) if flags & 0x80 else 0
