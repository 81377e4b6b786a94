"""Palette files: .hex, .gpl, JASC .pal, .ase and .png, told apart by what is in them.

`read` takes the bytes of a file and gives a `Palette`; `write` is its inverse. What each program
writes:

hex   Lospec (lospec.com/palette-list, "HEX File"): one colour a line, six hex digits, no name.
gpl   GIMP (developer.gimp.org/core/standards/gpl): text; decimal channels, a name for the palette
      and for each colour. Lospec keeps the palette's name in a comment; Aseprite adds a line
      "Channels: RGBA" and a fourth number.
pal   Paint Shop Pro (JASC): text with CRLF; "JASC-PAL", "0100", how many, decimal channels.
ase   Adobe Swatch Exchange. Adobe never described it: O. Berten, "Adobe Swatch Exchange" at
      selapa.net/swatches/colors/fileformats.php; carl.camera, "ASE File Specification". Big endian
      blocks with UTF-16 names. Nothing to do with Aseprite's own .ase, which is a picture.
png   Lospec and many others: a strip with a pixel for each colour.
"""

from __future__ import annotations

import io
import math
import re
import struct
import unicodedata
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import BadInput
from ..ops.color import hex_color, pack, unpack

Colour = tuple[int, int, int]
"""Red, green and blue of sRGB, 0 to 255 each."""

MOST_COLOURS = 65_536
"""Most colours a palette file may have."""

LARGEST_FILE = 16 * 1024 * 1024
"""Most bytes of a palette file; 65,536 named swatches of .ase take about 5 MB."""

MOST_PIXELS = 4096 * 4096
"""Most pixels of a picture that is read as a palette: decoded they take 64 MiB."""

LONGEST_NAME = 200
"""Most characters of a palette's name; longer ones are cut off when a file is read."""


class PaletteFormat(str, Enum):
    """The formats; each value is the suffix that files of it have, without the dot."""

    HEX = "hex"
    GPL = "gpl"
    PAL = "pal"
    ASE = "ase"
    PNG = "png"


@dataclass(frozen=True)
class Palette:
    """Colours in an order that counts, with the name that people know them by.

    A colour may be there twice, as in the palettes of indexed pictures. Raises BadInput for no or
    more than 65,536 colours, a channel that is no whole number in 0..255, and a name of more than
    one line or 200 characters.
    """

    name: str
    colours: tuple[Colour, ...]

    def __post_init__(self) -> None:
        _check_count(len(self.colours))
        for colour in self.colours:
            if len(colour) != 3 or not all(type(one) is int and 0 <= one <= 255 for one in colour):
                raise BadInput(
                    f"{colour!r} is no colour: red, green and blue are whole numbers from 0 to 255."
                )
        if self.name != one_line(self.name):
            raise BadInput(
                f"{self.name[:LONGEST_NAME]!r} cannot be the name of a palette: it is one line of "
                f"at most {LONGEST_NAME} characters, with single spaces."
            )

    def array(self) -> NDArray[np.uint8]:
        """The colours as uint8 [N, 3], as `ops.palette` takes them."""
        return np.array(self.colours, dtype=np.uint8)


def read(data: bytes, name: str = "") -> Palette:
    """The palette in a file's bytes, whatever the file is called.

    `name` is for files that have none inside; the file's own name without its suffix is a good one.
    The alpha that Aseprite writes in .gpl is left out. Of a picture: its colours in the order in
    which they are first met, row by row, without wholly transparent pixels and with no colour
    twice. Raises BadInput, in one sentence, for everything that is no palette of the five formats.
    """
    if len(data) > LARGEST_FILE:
        raise BadInput(
            f"The palette file has {len(data)} bytes; at most {LARGEST_FILE} can be read."
        )
    inside, colours = _READERS[detect(data)](data)
    _check_count(len(colours))
    return Palette(one_line(inside) or one_line(name), tuple(colours))


def write(palette: Palette, format: PaletteFormat) -> bytes:
    """The bytes of a file of that format.

    `read` gives the same palette back, but: .hex, .pal and .png have no name, and a .png that is
    read has no colour twice. Colours are named by their hex digits where a format wants names.
    """
    return _WRITERS[format](palette)


def detect(data: bytes) -> PaletteFormat:
    """Which format the bytes are of. Raises BadInput where they are of none, and says of which."""
    if data.startswith(b"ASEF"):
        return PaletteFormat.ASE
    if data.startswith(_PNG):
        return PaletteFormat.PNG
    start = data.removeprefix(_BOM).lstrip()[:16]
    if start.startswith(b"GIMP Palette"):
        return PaletteFormat.GPL
    if start.startswith(b"JASC-PAL"):
        return PaletteFormat.PAL
    for found, what in (
        (data[:4] == b"RIFF" and data[8:11] == b"PAL", "a palette of Microsoft's RIFF kind"),
        (data[4:6] == b"\xe0\xa5", "a picture of Aseprite, no Adobe swatches"),
        (data.startswith((b"GIF8", b"\xff\xd8\xff")), "a GIF or JPEG picture"),
        (not start, "empty"),
    ):
        if found:
            raise BadInput(f"The palette file is {what}; {_WANTED}.")
    if b"\0" in data[:1024]:
        raise BadInput(f"The palette file is none that is known; {_WANTED}.")
    return PaletteFormat.HEX


_PNG = b"\x89PNG\r\n\x1a\n"
_BOM = b"\xef\xbb\xbf"
_WANTED = "what can be read is .hex, .gpl, JASC .pal, .ase (Adobe) and .png"

_Read = tuple[str, list[Colour]]  # the name inside, or none, and the colours


def _check_count(count: int) -> None:
    if not 1 <= count <= MOST_COLOURS:
        has = f"{count} colours" if count else "no colour"
        raise BadInput(f"The palette has {has}; it must have 1 to {MOST_COLOURS}.")


def one_line(text: str) -> str:
    """Text that is one line in every format: no control characters, single spaces, not long."""
    # What is no character by itself, half a pair of UTF-16 among it, cannot be written as UTF-8.
    start = text.strip()[: 4 * LONGEST_NAME]
    clean = "".join(" " if unicodedata.category(one)[0] in "CZ" else one for one in start)
    return " ".join(clean.split())[:LONGEST_NAME].rstrip()


def _lines(data: bytes) -> list[tuple[int, str]]:
    """The lines that say something, numbered from 1, without the space around them.

    Names may be in any old encoding, and only they may be: what is no UTF-8 becomes a mark.
    """
    if data.count(b"\n") + data.count(b"\r") > 4 * MOST_COLOURS:
        raise BadInput("The palette file has too many lines.")
    text = data.removeprefix(_BOM).decode("utf-8", errors="replace")
    lines = enumerate(re.split(r"\r\n|\r|\n", text), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def _shown(line: str) -> str:
    return repr(line if len(line) <= 40 else f"{line[:40]}...")


def _channels(parts: list[str], number: int, line: str) -> Colour:
    """The first three parts as a colour; decimal, as text formats have them."""
    values = [int(part) for part in parts[:3] if re.fullmatch(r"[0-9]{1,3}", part)]
    if len(values) != 3 or max(values) > 255:
        raise BadInput(
            f"Line {number} of the palette file, {_shown(line)}, is no colour: it must begin with "
            "three numbers from 0 to 255."
        )
    return values[0], values[1], values[2]


def _read_hex(data: bytes) -> _Read:
    colours = []
    for number, line in _lines(data):
        colour = hex_color(line)
        if colour is None:
            raise BadInput(
                f"Line {number} of the palette file, {_shown(line)}, is no colour like 1a2b3c, and "
                f"the file is of no other kind that is known; {_WANTED}."
            )
        colours.append(colour)
    return "", colours


def _write_hex(palette: Palette) -> bytes:
    return "".join(f"{_digits(colour)}\n" for colour in palette.colours).encode("ascii")


def _digits(colour: Colour) -> str:
    return bytes(colour).hex()


def _read_gpl(data: bytes) -> _Read:
    name = ""
    colours: list[Colour] = []
    for number, line in _lines(data)[1:]:
        if line.startswith("#"):
            # Lospec's place for the name. GIMP's own line counts more.
            if line.startswith("#Palette Name:") and not name:
                name = line.partition(":")[2]
        elif re.match(r"[A-Za-z]+:", line) and not colours:
            if line.startswith("Name:"):
                name = line.partition(":")[2]
        else:
            colours.append(_channels(line.split(maxsplit=3), number, line))
    return name, colours


def _write_gpl(palette: Palette) -> bytes:
    head = ["GIMP Palette", f"Name: {palette.name}", "Columns: 0", "#"]
    rows = [f"{r:3} {g:3} {b:3}\t{_digits((r, g, b))}" for r, g, b in palette.colours]
    return "".join(f"{line}\n" for line in head + rows).encode("utf-8")


def _read_pal(data: bytes) -> _Read:
    lines = _lines(data)
    if len(lines) < 3 or lines[1][1] != "0100" or not re.fullmatch(r"[0-9]{1,9}", lines[2][1]):
        raise BadInput(
            "The JASC palette does not begin with JASC-PAL, 0100 and the number of its colours."
        )
    said, rows = int(lines[2][1]), lines[3:]
    if said != len(rows):
        raise BadInput(f"The JASC palette says that it has {said} colours, and has {len(rows)}.")
    colours = []
    for number, line in rows:
        parts = line.split()
        if len(parts) != 3:
            parts = []  # also what begins like a colour and goes on is none here
        colours.append(_channels(parts, number, line))
    return "", colours


def _write_pal(palette: Palette) -> bytes:
    lines = ["JASC-PAL", "0100", str(len(palette.colours))]
    lines += [f"{r} {g} {b}" for r, g, b in palette.colours]
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


_GROUP, _GROUP_END, _SWATCH = 0xC001, 0xC002, 0x0001


def _read_ase(data: bytes) -> _Read:
    try:
        return _read_blocks(data)
    except struct.error as error:
        raise BadInput("The Adobe swatches are cut short.") from error


def _read_blocks(data: bytes) -> _Read:
    """The first group's name, and the colours of all groups. Raises struct.error at the end."""
    version, count = struct.unpack_from(">HxxI", data, 4)
    if version != 1:
        raise BadInput(f"The Adobe swatches are of version {version}; only 1 is known.")
    name, at = "", 12
    colours: list[Colour] = []
    # Blocks that nobody knows are passed over by their length. The shortest has six bytes, so that
    # a count of billions ends at the end of the file.
    for _ in range(count):
        kind, length = struct.unpack_from(">HI", data, at)
        body = data[at + 6 : at + 6 + length]
        at += 6 + length
        if len(body) < length:
            raise struct.error
        if kind == _GROUP and not name:
            name = _utf16(body)[0]
        elif kind == _SWATCH:
            swatch, used = _utf16(body)
            colours.append(_swatch(body[used:], swatch))
    return name, colours


def _utf16(body: bytes) -> tuple[str, int]:
    """The text at the start, which ends with a zero, and how many bytes it takes."""
    (units,) = struct.unpack_from(">H", body, 0)
    if len(body) < 2 + 2 * units:
        raise struct.error
    text = body[2 : 2 + 2 * units].decode("utf-16-be", errors="replace")
    return text.split("\0")[0], 2 + 2 * units


def _swatch(body: bytes, name: str) -> Colour:
    """The colour behind a swatch's name: four letters for its kind, then 1 to 4 floats."""
    (kind,) = struct.unpack_from(">4s", body, 0)
    if kind == b"RGB ":
        values = struct.unpack_from(">3f", body, 4)
    elif kind.upper() == b"GRAY":
        values = struct.unpack_from(">f", body, 4) * 3
    else:
        # What ink or Lab looks like on a screen depends on a profile that the file does not have.
        raise BadInput(
            f"The Adobe swatch {_shown(one_line(name))} is of the kind "
            f"{kind.decode('latin-1').strip()!r}: save the swatches as RGB."
        )
    if not all(math.isfinite(value) and 0.0 <= value <= 1.0 for value in values):
        raise BadInput(
            f"The Adobe swatch {_shown(one_line(name))} has a channel that is not in 0 to 1."
        )
    red, green, blue = (int(value * 255.0 + 0.5) for value in values)
    return red, green, blue


def _write_ase(palette: Palette) -> bytes:
    # Illustrator puts swatches without a group into the last one that it has met, so there is one.
    blocks = [_block(_GROUP, _named(palette.name))]
    for colour in palette.colours:
        floats = struct.pack(">3f", *(one / 255.0 for one in colour))
        # The last number: 0 is a global colour, 1 a spot colour, 2 a normal one.
        swatch = _named(_digits(colour)) + b"RGB " + floats + struct.pack(">H", 2)
        blocks.append(_block(_SWATCH, swatch))
    blocks.append(_block(_GROUP_END, b""))
    return b"ASEF" + struct.pack(">HHI", 1, 0, len(blocks)) + b"".join(blocks)


def _block(kind: int, body: bytes) -> bytes:
    return struct.pack(">HI", kind, len(body)) + body


def _named(text: str) -> bytes:
    coded = text.encode("utf-16-be") + b"\0\0"
    return struct.pack(">H", len(coded) // 2) + coded


def _read_png(data: bytes) -> _Read:
    # The header comes first, so that no picture is decoded only to find that it is too large.
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise BadInput("The PNG picture has no header.")
    width, height = struct.unpack_from(">II", data, 16)
    if width * height > MOST_PIXELS:
        raise BadInput(
            f"The picture is {width}x{height}, too large for a palette; at most {MOST_PIXELS} "
            "pixels are read."
        )
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            pixels = _rgba(picture)
    except MemoryError:
        raise
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        raise BadInput("The PNG picture is damaged or cut short.") from error
    packed = pack(pixels[pixels[..., 3] > 0])
    unique, first = np.unique(packed, return_index=True)
    # Checked before there are millions of tuples.
    _check_count(len(unique))
    found = unpack(unique[np.argsort(first)])
    return "", [(red, green, blue) for red, green, blue in found.tolist()]


def _rgba(picture: Image.Image) -> NDArray[np.uint8]:
    """uint8 [H, W, 4]. Pillow cuts 16 bits off at 255 where they are grey, instead of scaling."""
    if picture.mode.startswith("I"):
        grey = (np.asarray(picture).astype(np.int64) >> 8).astype(np.uint8)
        return np.stack([grey, grey, grey, np.full_like(grey, 255)], axis=-1)
    return np.asarray(picture.convert("RGBA"))


def _write_png(palette: Palette) -> bytes:
    out = io.BytesIO()
    Image.fromarray(palette.array()[None]).save(out, "PNG")
    return out.getvalue()


_READERS = {
    PaletteFormat.HEX: _read_hex,
    PaletteFormat.GPL: _read_gpl,
    PaletteFormat.PAL: _read_pal,
    PaletteFormat.ASE: _read_ase,
    PaletteFormat.PNG: _read_png,
}

_WRITERS = {
    PaletteFormat.HEX: _write_hex,
    PaletteFormat.GPL: _write_gpl,
    PaletteFormat.PAL: _write_pal,
    PaletteFormat.ASE: _write_ase,
    PaletteFormat.PNG: _write_png,
}
