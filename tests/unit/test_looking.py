"""What a picture file is found to be, and what is none."""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from orchestrator.errors import ResultWrong
from orchestrator.runs.looking import format_of, look
from orchestrator.runs.picture_formats import SUFFIXES
from wrong_pictures import EPS, SCRIPT, WRONG, chunk, png, saved, with_graph

GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 4, "color": 7}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
RIGHT = with_graph(GRAPH, (8, 4))
NOISE = Image.effect_noise((7, 3), 50)


def animated(kind: str) -> bytes:
    frames = [Image.effect_noise((7, 3), 90).convert("RGB") for _ in range(3)]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize("kind", SUFFIXES)
def test_each_format_is_told_by_its_first_bytes(kind: str) -> None:
    found = look(saved(NOISE.convert("RGB"), kind))
    assert (found.format, found.suffix) == (kind, SUFFIXES[kind])
    assert (found.width, found.height, found.frames, found.bits) == (7, 3, 1, 8)
    assert found.rgba.shape == (3, 7, 4)
    assert found.graph is None


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF"])
def test_all_frames_are_decoded_and_count(kind: str) -> None:
    content = animated(kind)
    assert look(content).frames == 3
    assert look(content, most_pixels=3 * 21).frames == 3
    with pytest.raises(ResultWrong, match="63 pixels, and at most 62"):
        look(content, most_pixels=62)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("moves", [False, True])
def test_what_is_behind_the_end_is_no_part_of_a_picture(kind: str, moves: bool) -> None:
    if moves and kind in ("JPEG", "BMP"):
        pytest.skip("does not move")
    content = animated(kind) if moves else saved(NOISE.convert("RGB"), kind)
    found = look(content + SCRIPT)
    assert (found.length, found.behind) == (len(content), len(SCRIPT))
    assert (look(content).length, look(content).behind) == (len(content), 0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_one_that_is_cut_anywhere_is_not_whole(kind: str) -> None:
    content = saved(NOISE.convert("RGB"), kind)
    for end in range(len(content)):
        with pytest.raises(ResultWrong):
            look(content[:end])


@pytest.mark.parametrize("mode", ["RGBA", "RGB", "L", "P", "1"])
def test_a_png_with_a_wrong_bit_is_not_whole(mode: str) -> None:
    content = saved(NOISE.convert(mode), "PNG")
    assert look(content).width == 7
    for at in range(len(content)):
        with pytest.raises(ResultWrong):
            look(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("header and end", "no whole PNG"),
        ("garbage", "no whole PNG"),
        ("eps", "no PNG, JPEG"),
        ("bomb", "PNG"),
        ("empty", "it is empty"),
    ],
)
def test_what_is_no_picture_is_refused_with_a_reason(name: str, why: str) -> None:
    with pytest.raises(ResultWrong, match=why):
        look(WRONG[name](RIGHT))


def test_a_jpeg_is_one_whatever_it_is_called() -> None:
    found = look(WRONG["jpeg"](RIGHT))
    assert (found.suffix, found.graph) == (".jpg", GRAPH)


def test_sixteen_bits_count_as_such_and_are_reduced_to_look_at() -> None:
    found = look(WRONG["16 bits"](RIGHT))
    assert found.bits == 16
    assert found.rgba[0, 0].tolist() == [0x80, 0x80, 0x80, 255]
    deep = Image.fromarray(np.full((2, 2), 0x80FF, np.uint16))
    tiff = look(saved(deep, "TIFF"))
    assert (tiff.bits, tiff.rgba[0, 0, 0]) == (16, 0x80)


def test_a_path_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(RIGHT)
    assert look(path).width == 8
    with pytest.raises(OSError, match="gone"):
        look(tmp_path / "gone.png")


@pytest.mark.skipif(os.name == "nt", reason="the imitation is a shell script")
def test_no_bytes_ever_start_ghostscript(tmp_path: Path) -> None:
    gs, marker = tmp_path / "gs", tmp_path / "started"
    gs.write_text(f"#!/bin/sh\ntouch '{marker}'\n", encoding="utf-8")
    gs.chmod(gs.stat().st_mode | stat.S_IXUSR)
    picture = tmp_path / "a.png"
    picture.write_bytes(EPS)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}

    def started(code: str) -> bool:
        command = [sys.executable, "-c", code, str(picture)]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        return marker.exists()

    ours = """
import pathlib, sys
from orchestrator.errors import ResultWrong
from orchestrator.runs.looking import look
for source in (pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[1]).read_bytes()):
    try:
        look(source)
    except ResultWrong:
        continue
    raise SystemExit("it counts")
"""
    assert not started(ours)
    # So the imitation would have been started by whoever lets Pillow guess.
    guessing = """
import contextlib, sys
from PIL import Image
with contextlib.suppress(OSError, ValueError), Image.open(sys.argv[1]) as image:
    image.load()
"""
    assert started(guessing)


# ------------------------------------------------------------------------------ graphs


def carrying(kind: str) -> bytes:
    image, text = NOISE.convert("RGB"), json.dumps(GRAPH)
    if kind == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_text("prompt", text)
        return saved(image, kind, pnginfo=chunks)
    if kind == "APNG":
        # as ComfyUI's SaveAnimatedPNG
        chunks = PngImagePlugin.PngInfo()
        chunks.add(b"comf", b"prompt\0" + text.encode(), after_idat=True)
        others = [Image.effect_noise((7, 3), 90).convert("RGB")]
        return saved(image, "PNG", pnginfo=chunks, save_all=True, append_images=others)
    exif = Image.Exif()
    exif[0x0110] = f"prompt:{text}"
    return saved(image, kind, exif=exif)


@pytest.mark.parametrize("kind", ["PNG", "APNG", "JPEG", "WEBP"])
def test_the_graph_is_found_where_servers_put_it(kind: str) -> None:
    assert look(carrying(kind)).graph == GRAPH


@pytest.mark.parametrize(
    "text", ["", "a red potion", "{red|blue}", "[1, 2]", "null", "{}", '{"1": 7}']
)
def test_other_words_are_no_graph(text: str) -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("prompt", text)
    assert look(saved(NOISE, "PNG", pnginfo=chunks)).graph is None


@pytest.mark.parametrize(
    "text",
    [
        '{"1": {"class_type": 7}}',
        '{"1": {"class_type": "A"}, "2": 7}',
        '{"nodes": [], "1": {"class_type": "A"}}',
        '{"1": {"class_type": "A"}, "2": ' + "[" * 200_000 + "]" * 200_000 + "}",
        '{"1": {"class_type": "A", "inputs": {"a": ["1", 0]}}}',
        '{"1": {"class_type": "A"}, "2": ' + "9" * 10_000 + "}",
    ],
)
def test_a_graph_that_cannot_be_one_is_refused_as_nothing_else(text: str) -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("prompt", text)
    found = look(saved(NOISE, "PNG", pnginfo=chunks))
    with pytest.raises(ResultWrong, match="carries a graph that"):
        _ = found.graph


def test_a_text_that_unpacks_to_very_much_is_refused() -> None:
    packed = b"prompt\0\0" + zlib.compress(b"{" * 80_000_000)
    content = png(2, 2, zlib.compress(bytes(6)))
    at = len(content) - 12
    with pytest.raises(ResultWrong):
        look(content[:at] + chunk(b"zTXt", packed) + content[at:])


def test_damaged_exif_is_no_fault_of_the_picture() -> None:
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 9999)
    found = look(saved(NOISE, "JPEG", exif=exif))
    assert found.graph is None


def test_the_first_bytes_are_enough_to_tell_a_format() -> None:
    assert format_of(saved(NOISE, "WEBP")[:12]) == "WEBP"
    assert format_of(b"%PDF-1.7") is None
    assert format_of(b"") is None
    assert look(io.BytesIO(RIGHT).getvalue()).length == len(RIGHT)
