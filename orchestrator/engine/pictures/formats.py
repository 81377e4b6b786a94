"""The formats of picture files that are read, told apart by their first bytes alone.

A decoder is never left to guess: FFmpeg would take a text for a playlist and follow it to other
files and addresses.
"""

from __future__ import annotations

import struct
import zlib
from enum import Enum

from PIL import Image

# What Pillow raises at files that are damaged, or made to do harm: each of its decoders by itself.
UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    SyntaxError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)

_PNG = b"\x89PNG\r\n\x1a\n"


class PictureFormat(Enum):
    """Each with FFmpeg's name of what takes such a file apart, and Pillow's of the format."""

    PNG = ("png_pipe", "PNG")
    # a PNG with several frames
    APNG = ("apng", "PNG")
    JPEG = ("jpeg_pipe", "JPEG")
    GIF = ("gif", "GIF")
    WEBP = ("webp_pipe", "WEBP")
    BMP = ("bmp_pipe", "BMP")
    TIFF = ("tiff_pipe", "TIFF")

    def __init__(self, demuxer: str, pillow: str) -> None:
        self.demuxer = demuxer
        self.pillow = pillow


NAMES = "PNG, JPEG, GIF, WebP, BMP or TIFF"

_STARTS = (
    (b"\xff\xd8\xff", PictureFormat.JPEG),
    (b"GIF87a", PictureFormat.GIF),
    (b"GIF89a", PictureFormat.GIF),
    (b"BM", PictureFormat.BMP),
    (b"II*\x00", PictureFormat.TIFF),
    (b"MM\x00*", PictureFormat.TIFF),
)


def format_of(content: bytes) -> PictureFormat | None:
    """The format that a whole file has; None for any other than those that are read."""
    if content.startswith(_PNG):
        return PictureFormat.APNG if _has_frames(content) else PictureFormat.PNG
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return PictureFormat.WEBP
    return next((kind for start, kind in _STARTS if content.startswith(start)), None)


def _has_frames(content: bytes) -> bool:
    """Whether a PNG says, before its pixels, that it is a film (chunk acTL)."""
    place = len(_PNG)
    while place + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        if kind in (b"acTL", b"IDAT"):
            return bool(kind == b"acTL")
        place += length + 12
    return False
