"""Whether a PNG file is whole, by the check sums in it. Pure."""

from __future__ import annotations

import struct
import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# length, type; the check sum comes behind the data
_HEAD = struct.Struct(">I4s")
_SIZE = struct.Struct(">II")
_SUM = struct.Struct(">I")


def is_png(content: bytes) -> bool:
    """Say whether a file is meant to be a PNG."""
    return content.startswith(_SIGNATURE)


def size_of_png(content: bytes) -> tuple[int, int] | None:
    """(width, height) in px of a PNG that is whole; None for one that is not, or no PNG.

    Every chunk from the header to the end must be there with the CRC-32 that its writer gave it
    (PNG specification, section 5.3).
    """
    if not is_png(content):
        return None
    view, at, size = memoryview(content), len(_SIGNATURE), None
    while at + _HEAD.size <= len(content):
        length, kind = _HEAD.unpack_from(content, at)
        end = at + _HEAD.size + length
        if (
            end + 4 > len(content)
            or zlib.crc32(view[at + 4 : end]) != _SUM.unpack_from(view, end)[0]
        ):
            return None
        if kind == b"IHDR" and length >= _SIZE.size:
            size = _SIZE.unpack_from(content, at + _HEAD.size)
        if kind == b"IEND":
            return size
        at = end + _SUM.size
    return None
