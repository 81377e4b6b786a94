"""Pictures that come in by upload and go out by view, as ComfyUI handles them."""

from __future__ import annotations

import contextlib
import io
import mimetypes
import os
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from ...errors import InputError, OutputError, ProtocolError
from ...protocol import FileRef, decode_json
from ...protocol.http import annotated
from ..folders import Folders, OutsideFolder, inside
from ..pictures.formats import UNREADABLE, PictureFormat

# A browser may run scripts in these, and in every dialect of XML.
_ACTIVE_TYPES = frozenset(
    {
        "text/html",
        "text/html-sandboxed",
        "text/css",
        "text/javascript",
        "application/javascript",
        "application/x-javascript",
        "application/ecmascript",
        # saved pages: .mht, .mhtml
        "message/rfc822",
    }
)
_XML = ("/xml", "+xml")
_SVG = "image/svg+xml"

# Pillow is not left to guess: it would run other programs for some formats.
_FORMATS = sorted({each.pillow for each in PictureFormat})

# Two uploads of one name must not both find it free.
_naming = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class UploadedFile:
    """One file that a client sends."""

    filename: str
    content: bytes
    # "input", "temp" or "output"
    type: str = "input"
    subfolder: str = ""
    overwrite: bool = False


# The type is what we say, not what the bytes look like.
_AS_IT_IS = {"X-Content-Type-Options": "nosniff"}
# The same address gives another answer to an <img>, so none may be kept for the other.
_DEPENDS = {**_AS_IT_IS, "Vary": "Sec-Fetch-Dest", "Cache-Control": "no-store"}


@dataclass(frozen=True)
class View:
    """Bytes for a client, or a file as it is."""

    content: bytes | Path
    media_type: str
    # whether a browser shows it ("inline") or offers to save it ("attachment")
    disposition: str = "inline"
    # what the browser must not do with it
    headers: Mapping[str, str] = field(default_factory=lambda: dict(_AS_IT_IS))


def save_upload(folders: Folders, upload: UploadedFile) -> FileRef:
    """Store an upload and say under which name.

    A name that is taken gets a number unless the content is the same or `overwrite` is set. Raises
    InputError for a name that cannot be used, OutputError where the file cannot be written.
    """
    folder = inside(folders.of_type(upload.type), upload.subfolder)
    path = inside(folder, upload.filename)
    if not upload.filename or path == folder:
        raise InputError("the upload has no file name")
    with _naming:
        if not upload.overwrite:
            path = _free_name(path, upload.content)
        write_whole(path, upload.content)
    name = path.relative_to(folder).as_posix()
    return FileRef(filename=name, subfolder=upload.subfolder, type=upload.type)


def _free_name(path: Path, content: bytes) -> Path:
    candidate, number = path, 1
    while candidate.exists() and not _holds(candidate, content):
        candidate = inside(path.parent, f"{path.stem} ({number}){path.suffix}")
        number += 1
    return candidate


def _holds(path: Path, content: bytes) -> bool:
    there = path.is_file() and path.stat().st_size == len(content)
    return there and path.read_bytes() == content


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; raises OutputError, for example on a full disk.

    Raises InputError where what is there already, such as a folder of that name, is in the way.
    """
    unfinished = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        if isinstance(error, (FileExistsError, NotADirectoryError, IsADirectoryError)):
            raise InputError(
                f"the file {path.name} cannot be written: a file or folder is in the way; take "
                "another name"
            ) from error
        raise OutputError(f"the file {path.name} cannot be written: {error}") from error


def masked(folders: Folders, original_ref: str, mask: bytes) -> bytes:
    """The picture that `original_ref` (JSON of a FileRef) names, with the mask's alpha, as PNG.

    Its text chunks stay. Raises InputError where there is no such picture, or no picture in `mask`.
    """
    try:
        reference = decode_json(original_ref, "original_ref")
        name, kind = annotated(str(reference["filename"]), str(reference.get("type", "output")))
        subfolder = str(reference.get("subfolder", ""))
    except (ProtocolError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError("original_ref must be JSON with a filename") from error
    path = inside(folders.of_type(kind), subfolder, name)
    if not path.is_file():
        raise InputError(f"there is no file {name!r} in the {kind} folder to put a mask on")
    try:
        with _opened(path) as original, _opened(io.BytesIO(mask)) as alpha:
            chunks = PngImagePlugin.PngInfo()
            for key, text in getattr(original, "text", {}).items():
                chunks.add_text(key, text)
            merged = original.convert("RGBA")
            merged.putalpha(alpha.convert("RGBA").getchannel("A"))
    except UNREADABLE as error:
        raise InputError(f"the mask does not fit {name!r}: {error}") from error
    return _encoded(merged, "PNG", pnginfo=chunks, compress_level=4)


def find_view(folders: Folders, query: dict[str, str]) -> Path:
    """The file that the query of `/view` names; raises OutsideFolder, or InputError for none."""
    name, kind = annotated(query.get("filename", ""), query.get("type", "output"))
    if not name:
        raise OutsideFolder("the query names no file")
    path = inside(folders.of_type(kind), query.get("subfolder", ""), name)
    if not path.is_file():
        raise InputError(f"there is no file {name!r} in the {kind} folder")
    return path


def view(path: Path, query: dict[str, str], wanted_as: str = "") -> View:
    """A file as the query wants it: `preview=webp;90` or `jpeg;90`, `channel=rgb` or `a`.

    `wanted_as` is what a browser says that it will do with it (`Sec-Fetch-Dest`). Raises InputError
    where it should be a picture and is none.
    """
    channel = query.get("channel", "rgba")
    if "preview" not in query and channel not in ("rgb", "a"):
        return _whole(path, wanted_as)
    try:
        with _opened(path) as image:
            if "preview" in query:
                return _preview(image, query["preview"], channel)
            return View(_encoded(_channels(image, channel), "PNG"), "image/png")
    except UNREADABLE as error:
        raise InputError(f"{path.name} is no picture that can be shown: {error}") from error


def _opened(source: Path | io.BytesIO) -> Image.Image:
    return Image.open(source, formats=_FORMATS)


def _preview(image: Image.Image, wanted: str, channel: str) -> View:
    name, _, quality = wanted.partition(";")
    # JPEG has no alpha to show
    if name not in ("webp", "jpeg") or "a" in channel.replace("rgba", ""):
        name = "webp"
    if name == "jpeg" or channel == "rgb":
        image = image.convert("RGB")
    # three digits say more than any quality
    number = min(int(quality[:3]), 100) if quality[:3].isdecimal() else 90
    return View(_encoded(image, name.upper(), quality=number), f"image/{name}")


def _channels(image: Image.Image, channel: str) -> Image.Image:
    if channel == "rgb":
        return image.convert("RGB")
    alpha = image.getchannel("A") if image.mode == "RGBA" else Image.new("L", image.size, 255)
    shown = Image.new("RGBA", image.size)
    shown.putalpha(alpha)
    return shown


def _encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


def _whole(path: Path, wanted_as: str) -> View:
    """The file itself; one that could run in a browser is saved, not shown.

    An <img> runs no scripts, so an SVG that is wanted as an image is safe.
    """
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if kind not in _ACTIVE_TYPES and not kind.endswith(_XML):
        return View(path, kind)
    if kind == _SVG and wanted_as == "image":
        return View(path, kind, headers=_DEPENDS)
    return View(path, "application/octet-stream", "attachment", _DEPENDS)
