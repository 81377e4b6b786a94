"""What a picture file is: decoded to its end, measured, and asked for the graph that it carries.

Nothing that a server sent counts as a picture before `look` has seen it. The format follows from
the first bytes alone and is one of a short list, and only that format's decoder is called: a file
that only calls itself a picture (EPS, PDF, PSD, ...) reaches none, and starts no program such as
Ghostscript. The bytes behind a picture's end are no part of it: a program could hide there, and a
game's asset folder is no place for one, while honest writers put no more than padding there. So
they are no reason to refuse a picture, and whoever keeps it keeps the first `Look.length` bytes.
"""

from __future__ import annotations

import io
import json
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import GraphError, ResultWrong
from ..protocol import Graph
from ..workflow.graph import parse_graph
from ..workflow.signatures import Signatures
from .picture_formats import FORMATS, SUFFIXES

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

# Pixels of all frames together, as in the engine: what unpacks to more than a machine has.
MOST_PIXELS = 2 * 89_478_485

_PNG = b"\x89PNG\r\n\x1a\n"
_STARTS = (
    (_PNG, "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
)
# Characters of a graph as text; the largest known have a hundredth of it.
_LONGEST_GRAPH = 16 * 1024 * 1024
# The chunk in which ComfyUI keeps the texts of an animated PNG.
_COMFYUI_CHUNK = b"comf"
# the EXIF entry of the part that holds further entries
_EXIF_MORE = 0x8769
# the EXIF entry that says how a viewer turns a picture
_EXIF_ORIENTATION = 0x0112
# the TIFF entry BitsPerSample
_TIFF_BITS = 258
# a marker of a JPEG among its pixels: neither a stuffed byte, nor a restart, nor a filler
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_JPEG_SCAN, _JPEG_END = 0xDA, 0xD9
_GIF_EXTENSION, _GIF_IMAGE, _GIF_END = 0x21, 0x2C, 0x3B


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a picture file was found to be."""

    # Pillow's name, a key of SUFFIXES
    format: str
    # px, of the first frame
    width: int
    height: int
    # bits that the file has for each channel of a pixel, or for its number in a palette
    bits: int
    frames: int
    # bytes of the file that are the picture
    length: int
    # bytes behind the end of the picture, which are no part of it
    behind: int
    # what it carries, by name, such as "prompt" and "workflow"
    texts: Mapping[str, str]
    # the first frame
    image: Image.Image

    @property
    def suffix(self) -> str:
        """The suffix of such a file, with the dot."""
        return SUFFIXES[self.format]

    @cached_property
    def graph(self) -> Graph | None:
        """The graph that it carries; None where it carries none.

        Raises ResultWrong for one that no server can have run, as where links run in a circle.
        """
        return _graph_in(self.texts.get("prompt", ""))

    @cached_property
    def rgba(self) -> np.ndarray:
        """The first frame's pixels: uint8 [height, width, 4], red, green, blue, alpha.

        Deeper channels are reduced to 8 bits.
        """
        import numpy as np

        image = self.image
        if image.mode.startswith("I"):
            # What Pillow has of one deep channel it would cut off at 255.
            deep = np.asarray(image).astype(np.int64)
            gray = (np.clip(deep, 0, 0xFFFF) >> 8).astype(np.uint8)
            opaque = np.full_like(gray, 255)
            return np.stack([gray, gray, gray, opaque], axis=-1)
        return np.asarray(image.convert("RGBA"))

    @cached_property
    def upright(self) -> np.ndarray:
        """The same as a viewer shows it: turned and mirrored as its EXIF entry says.

        uint8 [height, width, 4], or [width, height, 4] where it lies on its side.
        """
        turn = _TURNS.get(_orientation_of(self.image))
        return self.rgba if turn is None else turn(self.rgba)


def format_of(content: bytes) -> str | None:
    """Pillow's name of the format that a file begins as; None for any that is not in SUFFIXES.

    The first 12 bytes are enough.
    """
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    return next((name for start, name in _STARTS if content.startswith(start)), None)


def get_ready() -> None:
    """Load what looks at pictures, which takes 60 ms, while there is something to wait for."""
    from PIL import Image

    Image.preinit()


def look(source: bytes | Path, *, most_pixels: int = MOST_PIXELS) -> Look:
    """Decode a picture to its end, all frames of it.

    Raises ResultWrong where it is none of these formats, is not whole, or has more pixels than
    `most_pixels` in all its frames together; OSError where a path cannot be read.
    """
    content = source.read_bytes() if isinstance(source, Path) else source
    name = format_of(content)
    if name is None:
        what = "it is empty" if not content else f"it is no {FORMATS}"
        raise ResultWrong(f"that is no picture that counts: {what}")
    length = _end(name, content)
    if length is None:
        raise ResultWrong(f"that is no whole {name} picture: it is damaged or cut off")
    try:
        return _decoded(name, content, length, most_pixels)
    except ResultWrong:
        raise
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        raise ResultWrong(f"that is no whole {name} picture ({error})") from error


def carries(found: Look, sent: Signatures, node_id: str) -> bool:
    """Whether a picture of node `node_id` carries the graph that was sent; False for none at all.

    Raises ResultWrong where it carries another one, and so is another job's picture.
    """
    if found.graph is None:
        return False
    if not sent.makes(node_id, found.graph):
        raise ResultWrong(
            "that picture carries another graph than the one that was sent, so it is another job's "
            "(where a node pack of the server rewrites graphs, allow it: `run --any-graph`, or the "
            "gate `graph: {min: 0}` of a batch)"
        )
    return True


# --------------------------------------------------------------------------- pixels


def _decoded(name: str, content: bytes, length: int, most_pixels: int) -> Look:
    # 50 ms to import, and not every command looks at pictures.
    from PIL import Image

    whole = content if length == len(content) else content[:length]
    with Image.open(io.BytesIO(whole), formats=(name,)) as image:
        width, height = image.size
        _count(width * height, most_pixels)
        image.load()
        first: Image.Image = image
        frames = 1
        if getattr(image, "is_animated", False):
            first = image.copy()
            frames = _load_the_rest(image, most_pixels)
        return Look(
            format=name,
            width=width,
            height=height,
            bits=_bits(name, image, whole),
            frames=frames,
            length=length,
            behind=len(content) - length,
            texts=_texts_in(image),
            image=first,
        )


def _load_the_rest(image: Any, most_pixels: int) -> int:
    """Decode the frames after the first; returns how many there are with it."""
    width, height = image.size
    pixels = width * height
    for number in range(1, image.n_frames):
        image.seek(number)
        pixels += image.size[0] * image.size[1]
        _count(pixels, most_pixels)
        image.load()
    return int(image.n_frames)


def _count(pixels: int, most_pixels: int) -> None:
    if pixels > most_pixels:
        raise ResultWrong(
            f"that is no picture that counts: it unpacks to {pixels:,} pixels, and at most "
            f"{most_pixels:,} are taken"
        )


def _bits(name: str, image: Any, content: bytes) -> int:
    if name == "PNG":
        # Pillow has reduced most of them by now.
        return content[24]
    if name == "TIFF":
        return int(image.tag_v2.get(_TIFF_BITS, (1,))[0])
    return 8


# ------------------------------------------------------------------------------ end


def _end(name: str, content: bytes) -> int | None:
    """How many bytes the picture takes, as the parts of its file say; None where one is missing."""
    try:
        return _ENDS[name](content)
    except (IndexError, struct.error):
        return None


def _end_of_png(content: bytes) -> int | None:
    """Every chunk must be there with its CRC-32 (PNG specification, section 5.3).

    A decoder need not look at the sums of the pixels' chunks, and would not see a wrong bit.
    """
    view, at = memoryview(content), len(_PNG)
    while True:
        length, kind = struct.unpack_from(">I4s", content, at)
        end = at + 8 + length
        (told,) = struct.unpack_from(">I", content, end)
        if zlib.crc32(view[at + 4 : end]) != told:
            return None
        at = end + 4
        if kind == b"IEND":
            return int(at)


def _end_of_jpeg(content: bytes) -> int | None:
    at = 2
    while True:
        while content[at] == 0xFF == content[at + 1]:
            # fillers before a marker
            at += 1
        if content[at] != 0xFF:
            return None
        marker = content[at + 1]
        if marker == _JPEG_END:
            return at + 2
        (length,) = struct.unpack_from(">H", content, at + 2)
        at += 2 + length
        if marker == _JPEG_SCAN:
            found = _MARKER.search(content, at)
            if found is None:
                return None
            at = found.start()


def _end_of_webp(content: bytes) -> int | None:
    (length,) = struct.unpack_from("<I", content, 4)
    end = 8 + length
    # Parts are padded to even lengths, which the last one is sometimes spared.
    return None if end > len(content) else min(int(end + length % 2), len(content))


def _end_of_gif(content: bytes) -> int | None:
    at = 13 + _colours(content[10])
    while True:
        kind = content[at]
        if kind == _GIF_END:
            return at + 1
        if kind == _GIF_EXTENSION:
            at += 2
        elif kind == _GIF_IMAGE:
            at += 10 + _colours(content[at + 9]) + 1
        else:
            return None
        while content[at]:
            at += content[at] + 1
        at += 1


def _colours(flags: int) -> int:
    """Bytes of a GIF's colour table."""
    return 3 * 2 ** (flags % 8 + 1) if flags & 0x80 else 0


def _end_of_bmp(content: bytes) -> int | None:
    (length,) = struct.unpack_from("<I", content, 2)
    if length > len(content):
        return None
    # Some writers leave the length out.
    return int(length) or len(content)


# A TIFF has its parts anywhere, so what no part of it uses is not told from what one does.
_ENDS: Mapping[str, Callable[[bytes], int | None]] = {
    "PNG": _end_of_png,
    "JPEG": _end_of_jpeg,
    "WEBP": _end_of_webp,
    "GIF": _end_of_gif,
    "BMP": _end_of_bmp,
    "TIFF": len,
}


# ---------------------------------------------------------------------------- texts


def _texts_in(image: Any) -> dict[str, str]:
    """The texts that a decoded picture carries, by their names."""
    texts = {key: str(value) for key, value in getattr(image, "text", {}).items()}
    for kind, content, *_ in getattr(image, "private_chunks", ()):
        key, zero, text = content.partition(b"\0")
        if kind == _COMFYUI_CHUNK and zero:
            texts.setdefault(key.decode("latin-1"), text.decode("latin-1"))
    for entry in _exif_of(image):
        # ComfyUI writes "workflow:{...}" and "prompt:{...}"
        key, colon, text = entry.partition(":") if isinstance(entry, str) else ("", "", "")
        if colon:
            texts.setdefault(key.strip().casefold(), text)
    return texts


def _exif_of(image: Any) -> list[Any]:
    """The values of EXIF entries, of the main part and of the one with further texts."""
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & image.info.keys():
        return []
    try:
        exif = image.getexif()
        return [*exif.values(), *exif.get_ifd(_EXIF_MORE).values()]
    except Exception:  # noqa: BLE001  (damaged EXIF is no fault of the picture, and says nothing)
        return []


def _orientation_of(image: Any) -> object:
    """1 to 8 (EXIF 2.32, 4.6.4, Orientation), or anything else; TIFFs are turned by Pillow."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return image.getexif().get(_EXIF_ORIENTATION, 1)
        except Exception:  # noqa: BLE001  (damaged EXIF is no fault of the picture, and says nothing)
            return 1


# Orientation -> what a viewer does to pixels [height, width, channels].
_TURNS: Mapping[object, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
}


def _graph_in(text: str) -> Graph | None:
    text = text.strip("\0 \t\r\n")
    if len(text) > _LONGEST_GRAPH:
        raise ResultWrong("that picture carries a graph that is too long to be one")
    try:
        data = json.loads(text)
    except json.JSONDecodeError:
        # Other programs keep the words of a picture there.
        return None
    except (ValueError, RecursionError) as error:
        raise ResultWrong(f"that picture carries a graph that cannot be read ({error})") from error
    if not isinstance(data, dict) or not any(map(_is_node, data.values())):
        return None
    try:
        return parse_graph(data, "it")
    except GraphError as error:
        raise ResultWrong(f"that picture carries a graph that could not run: {error}") from error


def _is_node(value: Any) -> bool:
    return isinstance(value, dict) and "class_type" in value
