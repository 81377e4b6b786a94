"""Animated PNGs of all colours and alphas (W3C, PNG specification, third edition, 2025).

Each frame is whole and takes the place of the one before. What reads no animation shows the first.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

from ..errors import BadInput
from ..ops.arrays import Bytes
from ..ops.frames import Frame
from .animated import pictures_of

LONGEST = 65_535
"""Longest duration of a frame, in ms."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# 8 bits a channel, red, green, blue and alpha, nothing interlaced
_RGBA = (8, 6, 0, 0, 0)


def write(frames: Sequence[Frame], loop: bool = True) -> bytes:
    """An APNG of frames in the order in which they are shown, for ever or once, to the ms.

    Colours under alpha 0 are gone. Raises BadInput for frames of several sizes, and for one that is
    shown for more than 65,535 ms.
    """
    pictures = pictures_of(frames)
    for frame in frames:
        if frame.duration > LONGEST:
            raise BadInput(
                f"Frame {frame.name} is shown for {frame.duration} ms, and an APNG holds {LONGEST}."
            )
    height, width = pictures.shape[1:3]
    chunks = [
        _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, *_RGBA)),
        _chunk(b"acTL", struct.pack(">II", len(frames), 0 if loop else 1)),
    ]
    number = 0
    for index, (frame, picture) in enumerate(zip(frames, pictures, strict=True)):
        # delay in thousandths of a second; disposal 0 leaves it, blending 0 replaces what was there
        shown = struct.pack(">IIIIIHHBB", number, width, height, 0, 0, frame.duration, 1000, 0, 0)
        chunks.append(_chunk(b"fcTL", shown))
        number += 1
        if index == 0:
            chunks.append(_chunk(b"IDAT", _packed(picture)))
        else:
            chunks.append(_chunk(b"fdAT", struct.pack(">I", number) + _packed(picture)))
            number += 1
    return _SIGNATURE + b"".join(chunks) + _chunk(b"IEND", b"")


def _packed(picture: Bytes) -> bytes:
    """The rows, each after the number of its filter, which is none."""
    filters = np.zeros((len(picture), 1), dtype=np.uint8)
    rows = np.concatenate([filters, picture.reshape(len(picture), -1)], axis=1)
    return zlib.compress(rows.tobytes(), 9)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )
