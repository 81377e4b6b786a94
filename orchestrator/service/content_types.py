"""What a file is, found by looking into it; what a client calls it counts for nothing.

The answer is one of a short list of types that a browser shows and never runs: a page, a script or
an SVG is text or bytes here, whatever its sender says.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from ..errors import InputError, ResultWrong, TooLarge
from ..runs.looking import format_of, look
from ..runs.picture_formats import FORMATS, NAMED

BYTES = "application/octet-stream"
TEXT = "text/plain; charset=utf-8"
# Pillow's name of a format -> its type (IANA's registry, BMP by RFC 7903)
PICTURES: Mapping[str, str] = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
}
# What an uploaded picture may have, as it is decoded in memory: bytes of its file, and pixels of
# all frames together, which take 4 bytes each.
MOST_PICTURE_BYTES = 128 * 1024 * 1024
MOST_PIXELS = 8192 * 8192

_START = 4096
# The beginnings of other files that jobs read and make, by their formats' own specifications.
_SIGNATURES = (
    (re.compile(rb"....ftypM4[AB] ", re.DOTALL), "audio/mp4"),
    (re.compile(rb"....ftypqt  ", re.DOTALL), "video/quicktime"),
    (re.compile(rb"....ftyp(?:iso[2-9m]|mp4[12]|avc1|dash|M4V )", re.DOTALL), "video/mp4"),
    (re.compile(rb"\x1a\x45\xdf\xa3.{0,64}?webm", re.DOTALL), "video/webm"),
    (re.compile(rb"\x1a\x45\xdf\xa3.{0,64}?matroska", re.DOTALL), "video/x-matroska"),
    (re.compile(rb"RIFF....WAVE", re.DOTALL), "audio/wav"),
    (re.compile(rb"RIFF....AVI ", re.DOTALL), "video/x-msvideo"),
    (re.compile(rb"fLaC"), "audio/flac"),
    (re.compile(rb"OggS"), "audio/ogg"),
    (re.compile(rb"ID3|\xff[\xfb\xf3\xf2]"), "audio/mpeg"),
    (re.compile(rb"glTF\x02\x00\x00\x00"), "model/gltf-binary"),
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def content_type_of(
    path: Path, name: str, declared: str = "", *, most_pixels: int = MOST_PIXELS
) -> str:
    """The type of a file on this disk; a picture is decoded to its end for it.

    Raises InputError for a file that begins as a picture and is no whole one, unpacks to more than
    `most_pixels`, or is called a picture, by its name or by `declared`, and is none of our formats;
    TooLarge for a picture's file that is too large to be decoded.
    """
    with path.open("rb") as stream:
        start = stream.read(_START)
    picture = format_of(start)
    if picture is not None:
        if path.stat().st_size > MOST_PICTURE_BYTES:
            raise TooLarge(f"a picture may have {MOST_PICTURE_BYTES:,} bytes at most")
        try:
            look(path, most_pixels=most_pixels)
        except ResultWrong as error:
            raise InputError(str(error)) from error
        return PICTURES[picture]
    called = declared.strip().casefold().startswith("image/")
    if called or PurePosixPath(name).suffix.casefold() in NAMED:
        raise InputError(f"that file is called a picture and is none; give a {FORMATS}")
    return _other(start)


def kind_of(content_type: str, name: str) -> str:
    """What Comfy API v2 calls such a file: image, video, audio, text, latent or file."""
    if name.casefold().endswith(".latent"):
        return "latent"
    kind = content_type.partition("/")[0]
    return kind if kind in ("image", "video", "audio", "text") else "file"


def type_of(content: bytes) -> str:
    """The type of a file that was looked at already."""
    picture = format_of(content)
    return PICTURES[picture] if picture is not None else _other(content[:_START])


def _other(start: bytes) -> str:
    for signature, found in _SIGNATURES:
        if signature.match(start):
            return found
    try:
        # not to its end, where a letter of several bytes may be cut
        text = codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return BYTES
    return TEXT if text and not _CONTROL.search(text) else BYTES
