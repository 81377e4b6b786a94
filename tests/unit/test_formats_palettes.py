import io
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import GimpPaletteFile, Image

from comfy_nodes.errors import BadInput
from comfy_nodes.formats.palettes import (
    LARGEST_FILE,
    MOST_COLOURS,
    Palette,
    PaletteFormat,
    detect,
    read,
    write,
)
from comfy_nodes.formats.well_known import WELL_KNOWN, by_name

FIRE = Palette("Small Fire", ((26, 28, 44), (177, 62, 83), (255, 205, 117), (177, 62, 83)))

colours = st.tuples(*[st.integers(0, 255)] * 3)
names = st.text(max_size=30).map(lambda text: read(b"000000", text).name)
palettes = st.builds(Palette, names, st.lists(colours, min_size=1, max_size=40).map(tuple))


def png(image: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", **options)
    return out.getvalue()


@given(palettes, st.sampled_from(list(PaletteFormat)))
def test_what_is_written_is_read_back(palette: Palette, format: PaletteFormat) -> None:
    data = write(palette, format)
    assert detect(data) is format
    again = read(data, palette.name)
    expected = palette.colours
    if format is PaletteFormat.PNG:
        expected = tuple(dict.fromkeys(expected))
    assert again == Palette(palette.name, expected)


def test_names_inside_count_more_than_those_of_files() -> None:
    for format in PaletteFormat:
        inside = format in (PaletteFormat.GPL, PaletteFormat.ASE)
        assert read(write(FIRE, format), "file").name == ("Small Fire" if inside else "file")


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(list(PaletteFormat)),
    st.lists(
        st.tuples(st.sampled_from("cdi"), st.floats(0, 1), st.binary(min_size=1, max_size=6)),
        min_size=1,
        max_size=4,
    ),
)
def test_a_damaged_file_gives_a_palette_or_a_sentence(
    format: PaletteFormat, changes: list[tuple[str, float, bytes]]
) -> None:
    data = bytearray(write(FIRE, format))
    for kind, where, what in changes:
        at = int(where * len(data))
        if kind == "c":
            del data[at:]
        elif kind == "d":
            data[at : at + len(what)] = what
        else:
            data[at:at] = what
    sentence_or_palette(bytes(data))


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([b"", b"ASEF\0\1\0\0", b"\x89PNG\r\n\x1a\n", b"GIMP Palette\n", b"JASC-PAL\n"]),
    st.binary(max_size=80),
)
def test_any_bytes_give_a_palette_or_a_sentence(start: bytes, rest: bytes) -> None:
    sentence_or_palette(start + rest)


def sentence_or_palette(data: bytes) -> None:
    try:
        found = read(data, "a name")
    except BadInput as error:
        text = str(error)
        assert text.endswith(".")
        assert "\n" not in text
        assert len(text) < 300
    else:
        assert 1 <= len(found.colours) <= MOST_COLOURS


def test_hex_as_lospec_writes_it_and_as_people_do() -> None:
    assert read(b"1a1c2c\r\nb13e53\r\n\r\n").colours == FIRE.colours[:2]
    assert read(b"\xef\xbb\xbf#1A1C2C\n  #B13E53").colours == FIRE.colours[:2]


def test_gpl_as_gimp_lospec_and_aseprite_write_it() -> None:
    gimp = b"GIMP Palette\nName: Small Fire\nColumns: 4\n#\n 26  28  44\tInk\n177 62 83 Red wine\n"
    lospec = (
        b"GIMP Palette\n#Palette Name: Small Fire\n#Author: somebody\n#Description: \n#Colors: 2\n"
        b"26\t28\t44\t1a1c2c\n177\t62\t83\tb13e53\n"
    )
    aseprite = (
        b"GIMP Palette\r\nChannels: RGBA\r\n#\r\n26 28 44 255\tInk\r\n177 62 83 0\tUntitled\r\n"
    )
    for data, name in ((gimp, "Small Fire"), (lospec, "Small Fire"), (aseprite, "")):
        assert read(data) == Palette(name, FIRE.colours[:2])
    assert read(gimp.replace(b"Red wine", b"Ros\xe9")).colours == FIRE.colours[:2]


def test_text_formats_are_written_to_the_letter() -> None:
    small = Palette("Fire", FIRE.colours[:2])
    assert write(small, PaletteFormat.HEX) == b"1a1c2c\nb13e53\n"
    assert write(small, PaletteFormat.PAL) == b"JASC-PAL\r\n0100\r\n2\r\n26 28 44\r\n177 62 83\r\n"
    assert write(small, PaletteFormat.GPL) == (
        b"GIMP Palette\nName: Fire\nColumns: 0\n#\n 26  28  44\t1a1c2c\n177  62  83\tb13e53\n"
    )


def test_pillow_reads_the_gimp_palettes_that_are_written() -> None:
    data, mode = GimpPaletteFile.GimpPaletteFile(
        io.BytesIO(write(by_name("sweetie-16"), PaletteFormat.GPL))
    ).getpalette()
    assert mode == "RGB"
    assert data[:48] == by_name("sweetie-16").array().tobytes()


def swatch(kind: bytes, *values: float, name: str = "x") -> bytes:
    coded = (name + "\0").encode("utf-16-be")
    body = struct.pack(">H", len(coded) // 2) + coded + kind
    body += struct.pack(f">{len(values)}f", *values) + b"\0\2"
    return struct.pack(">HI", 1, len(body)) + body


def ase(*blocks: bytes) -> bytes:
    return b"ASEF\0\1\0\0" + struct.pack(">I", len(blocks)) + b"".join(blocks)


def test_ase_is_written_to_the_byte() -> None:
    # By hand from the description of the format.
    expected = (
        "41534546 0001 0000 00000003"
        "c001 00000006 0002 0046 0000"
        "0001 00000022 0007 0066 0066 0030 0030 0033 0033 0000"
        "52474220 3f800000 00000000 3e4ccccd 0002"
        "c002 00000000"
    )
    data = write(Palette("F", ((255, 0, 51),)), PaletteFormat.ASE)
    assert data == bytes.fromhex(expected)


def test_ase_with_groups_grey_and_unknown_blocks() -> None:
    unknown = struct.pack(">HI", 7, 3) + b"abc"
    data = ase(swatch(b"RGB ", 1.0, 0.0, 0.2), unknown, swatch(b"Gray", 0.5))
    assert read(data, "named").colours == ((255, 0, 51), (128, 128, 128))
    assert read(data, "named").name == "named"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b" \r\n", "empty"),
        (b"\0\1\2", "none that is known"),
        (b"RIFF\x10\0\0\0PAL data", "RIFF"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "none that is known"),
        (b"\xff\xd8\xff\xdb", "JPEG"),
        (b"\x80\0\0\0\xe0\xa5\1\0", "Aseprite"),
        (b"GIF89a", "GIF"),
        (b"1a1c2c\nnothing", "Line 2"),
        (b"#\n", "Line 1"),
        (b"GIMP Palette\n", "no colour"),
        (b"GIMP Palette\n1 2\n", "Line 2"),
        (b"GIMP Palette\n1 2 256\n", "Line 2"),
        (b"GIMP Palette\n1 -2 3\n", "Line 2"),
        ("GIMP Palette\n1 2 ٣\n".encode(), "Line 2"),
        (b"JASC-PAL\n0100\n", "begin"),
        (b"JASC-PAL\n0200\n1\n1 2 3\n", "begin"),
        (b"JASC-PAL\n0100\n2\n1 2 3\n", "2 colours, and has 1"),
        (b"JASC-PAL\n0100\n1\n1 2 3 4 5\n", "Line 4"),
        (b"ASEF", "cut short"),
        (b"ASEF\0\2\0\0\0\0\0\0", "version 2"),
        (b"ASEF\0\1\0\0\xff\xff\xff\xff", "cut short"),
        (ase(swatch(b"CMYK", 0.0, 0.0, 0.0, 0.0, name="Ink")), "Ink"),
        (ase(swatch(b"LAB ", 0.5, 0.0, 0.0)), "RGB"),
        (ase(swatch(b"RGB ", float("nan"), 0.0, 0.0)), "0 to 1"),
        (ase(swatch(b"RGB ", 1.5, 0.0, 0.0)), "0 to 1"),
        (ase(swatch(b"RGB ", 0.5)), "cut short"),
        (b"\x89PNG\r\n\x1a\n", "header"),
        (png(Image.new("RGB", (8, 8)))[:45], "damaged"),
        (png(Image.new("RGBA", (8, 8))), "no colour"),
    ],
)
def test_what_is_no_palette_is_told_in_a_sentence(data: bytes, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        read(data)
    sentence_or_palette(data)


def test_too_much_is_refused_before_it_is_worked_on() -> None:
    lines = b"".join(b"%06x\n" % number for number in range(MOST_COLOURS + 1))
    assert len(read(lines[: 7 * MOST_COLOURS]).colours) == MOST_COLOURS
    with pytest.raises(BadInput, match="65537"):
        read(lines)
    with pytest.raises(BadInput, match="bytes"):
        read(bytes(LARGEST_FILE + 1))
    with pytest.raises(BadInput, match="lines"):
        read(b"0\n" * 4_000_000)
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + bytes(30)
    with pytest.raises(BadInput, match="100000x100000"):
        read(bomb)
    many = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    with pytest.raises(BadInput, match="must have 1 to"):
        read(png(Image.fromarray(many)))


def test_pictures_of_every_mode_are_read() -> None:
    indexed = Image.new("P", (3, 1))
    indexed.putpalette([9, 9, 9, 255, 0, 0, 0, 255, 0])
    indexed.putdata([1, 0, 2])
    assert read(png(indexed)).colours == ((255, 0, 0), (9, 9, 9), (0, 255, 0))
    assert read(png(indexed, transparency=0)).colours == ((255, 0, 0), (0, 255, 0))
    deep = Image.fromarray(np.array([[0, 0x8040, 0xFFFF]], dtype=np.uint16))
    assert read(png(deep)).colours == ((0, 0, 0), (128, 128, 128), (255, 255, 255))
    assert read(png(Image.new("1", (2, 2), 1))).colours == ((255, 255, 255),)
    assert read(png(Image.new("LA", (2, 2), (7, 255)))).colours == ((7, 7, 7),)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("", ()), ("", ((0, 0, 256),)), ("", ((0, 0),)), ("", ((0, 0, 1.0),)), ("a\nb", ((0, 0, 0),))],
)
def test_a_wrong_palette_cannot_be_made(name: str, wrong: tuple[tuple[int, int, int], ...]) -> None:
    with pytest.raises(BadInput):
        Palette(name, wrong)


def test_well_known_palettes_have_the_colours_they_are_known_for() -> None:
    sizes = {key: len(one.palette.colours) for key, one in WELL_KNOWN.items()}
    assert sizes == {
        "pico-8": 16,
        "sweetie-16": 16,
        "dawnbringer-16": 16,
        "dawnbringer-32": 32,
        "game-boy": 4,
        "commodore-64": 16,
        "colodore": 16,
        "cga": 16,
        "ega": 64,
    }
    for one in WELL_KNOWN.values():
        assert len(set(one.palette.colours)) == len(one.palette.colours)
        assert one.author
        assert one.source
    ega = by_name("EGA").colours
    # The EGA's numbers of its first sixteen, as its BIOS sets them.
    numbers = [0, 1, 2, 3, 4, 5, 20, 7, 56, 57, 58, 59, 60, 61, 62, 63]
    assert tuple(ega[number] for number in numbers) == by_name("cga").colours
    assert by_name("Sweetie 16") == by_name("sweetie-16") == by_name("SWEETIE_16")
    assert by_name("pico-8").array().shape == (16, 3)
    with pytest.raises(BadInput, match="pico-8, sweetie-16"):
        by_name("no such")


def test_reading_palettes_imports_no_torch() -> None:
    check = (
        "import sys, comfy_nodes.formats.well_known, comfy_nodes.ops.palette;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
