"""What may lie in a folder of pictures: every command gives a right answer or one sentence."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fake_grids
from orchestrator.__main__ import run
from orchestrator.sprites.files import read_picture
from wrong_pictures import SIGNATURE, chunk

Pixels = fake_grids.Pixels
PITCH = 6
ORIENTATION = 0x0112


def truth(*, alpha: bool = False) -> Pixels:
    return fake_grids.figure(np.random.default_rng(4), alpha=alpha)


def sprite(*, alpha: bool = False) -> Image.Image:
    """A sprite in fake pixels of 6x6."""
    small = truth(alpha=alpha)
    return Image.fromarray(small.repeat(PITCH, axis=0).repeat(PITCH, axis=1))


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def flat(width: int, height: int, colour: Any = (10, 200, 30), mode: str = "RGB") -> bytes:
    return saved(Image.new(mode, (width, height), colour))


def film(kind: str) -> bytes:
    frames = [sprite(), sprite().transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)


def turned(orientation: int, kind: str = "PNG") -> bytes:
    """A sprite that lies otherwise in the file, and says how a viewer is to turn it."""
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    image = sprite() if orientation == 1 else sprite().transpose(back[orientation])
    return saved(image, kind, exif=exif, **options.get(kind, {}))


def deep_png() -> bytes:
    """16 bits in each of red, green and blue, which Pillow does not write."""
    pixels = np.asarray(sprite()).astype(">u2") * 257
    height, width = pixels.shape[:2]
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")
    return SIGNATURE + b"".join(parts)


def bomb() -> bytes:
    """Some kilobytes that unpack to 400 million pixels."""
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    lines = zlib.compress(bytes(20_000 * 2501), 1)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


@dataclass(frozen=True)
class Right:
    """The true pixels [h, w] that come out, and by how much their colours may be off."""

    size: tuple[int, int]
    pixels: Callable[[], Pixels] | None = None
    near: int = 0


def of_sprite(near: int = 0, *, alpha: bool = False) -> Right:
    height, width = truth(alpha=alpha).shape[:2]
    return Right((width, height), lambda: truth(alpha=alpha), near)


def grey() -> Pixels:
    return np.asarray(Image.fromarray(truth()).convert("L").convert("RGB"))


SIZE, SIZE_ALPHA = truth().shape[1::-1], truth(alpha=True).shape[1::-1]
GOOD: Mapping[str, tuple[Callable[[], bytes], Right]] = {
    "one pixel.png": (lambda: flat(1, 1), Right((1, 1))),
    "8192x1.png": (lambda: flat(8192, 1), Right((8192, 1))),
    "1x8192.png": (lambda: flat(1, 8192), Right((1, 8192))),
    "one colour.png": (lambda: flat(300, 200), Right((300, 200))),
    "transparent.png": (lambda: flat(90, 60, (0, 0, 0, 0), "RGBA"), Right((90, 60))),
    "16 bit.png": (deep_png, of_sprite()),
    "16 bit grey.png": (
        lambda: saved(Image.fromarray(np.asarray(sprite().convert("L")).astype(np.uint16) * 257)),
        Right(SIZE, grey),
    ),
    "cmyk.jpg": (
        lambda: saved(sprite().convert("CMYK"), "JPEG", quality=100, subsampling=0),
        of_sprite(12),
    ),
    "grey and alpha.png": (lambda: saved(sprite(alpha=True).convert("LA")), Right(SIZE_ALPHA)),
    "palette with transparency.png": (
        lambda: saved(sprite(alpha=True).quantize(64)),
        of_sprite(40, alpha=True),
    ),
    "one bit.png": (
        lambda: saved(sprite().convert("L").point(lambda v: v > 128, "1")),
        Right(SIZE),
    ),
    "turned.jpg": (lambda: turned(6, "JPEG"), of_sprite(12)),
    "wrong suffix.jpg": (lambda: saved(sprite()), of_sprite()),
    "Zaubertrank ä – 毒 (2).png": (lambda: saved(sprite()), of_sprite()),
    "plain.png": (lambda: saved(sprite()), of_sprite()),
}
BAD: Mapping[str, tuple[Callable[[], bytes], str]] = {
    "film.gif": (lambda: film("GIF"), "2 frames"),
    "film.png": (lambda: film("PNG"), "2 frames"),
    "film.webp": (lambda: film("WEBP"), "2 frames"),
    "cut off.png": (lambda: saved(sprite())[:-30], "damaged or cut off"),
    "cut off.jpg": (lambda: saved(sprite(), "JPEG")[:-300], "damaged or cut off"),
    "cut off.webp": (lambda: saved(sprite(), "WEBP")[:-30], "damaged or cut off"),
    "cut off.gif": (lambda: saved(sprite(), "GIF")[:-30], "damaged or cut off"),
    "one wrong bit.png": (
        lambda: (lambda b: b[:60] + bytes([b[60] ^ 1]) + b[61:])(saved(sprite())),
        "damaged or cut off",
    ),
    "bomb.png": (bomb, "that is no whole PNG picture"),
    "empty.png": (lambda: b"", "it is empty"),
    "text.png": (lambda: b"a red potion, pixel art", "it is no PNG, JPEG"),
    "page.jpg": (lambda: b"<html><body>404 not found</body></html>", "it is no PNG, JPEG"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """All of them, and a folder that calls itself a picture."""
    for number, (name, (make, _)) in enumerate({**GOOD, **BAD}.items()):
        # results are called NAME.png
        place = tmp_path / "in" / f"{number:02} {name}"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(make())
    (tmp_path / "in" / "a.png").mkdir()
    return tmp_path / "in"


def named(told: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {Path(one["file"]).name[3:]: one for one in told}


def test_snap_answers_every_file_of_a_folder(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder.parent / "out"
    assert run(["snap", str(folder), "--out", str(out), "--json"]) == 1
    printed = capsys.readouterr()
    told = named(json.loads(printed.out))
    assert "Traceback" not in printed.err
    assert set(told) == {*GOOD, *BAD}
    for name, (_, words) in BAD.items():
        assert words in told[name].get("error", "no error"), name
        assert told[name]["error"].startswith(str(Path(told[name]["file"])))
        assert "\n" not in told[name]["error"]
    for name, (_, right) in GOOD.items():
        assert (told[name]["width"], told[name]["height"]) == right.size, name
    assert len(list(out.iterdir())) == len(GOOD)
    results = {file.stem[3:]: file for file in out.iterdir()}
    for name, (_, right) in GOOD.items():
        if right.pixels is None:
            continue
        own = np.asarray(Image.open(results[Path(name).stem])).astype(int)
        wanted = right.pixels()
        assert own.shape == wanted.shape, name
        seen = wanted[..., 3:] > 0 if wanted.shape[2] == 4 else True
        assert (np.abs(own - wanted) * seen).max() <= right.near, name


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_a_picture_is_turned_as_a_viewer_turns_it(
    orientation: int, kind: str, tmp_path: Path
) -> None:
    file = tmp_path / "photo"
    file.write_bytes(turned(orientation, kind))
    own, wanted = read_picture(file), np.asarray(sprite())
    assert own.shape == wanted.shape
    assert np.abs(own.astype(int) - wanted).max() <= (12 if kind == "JPEG" else 0)


def test_an_orientation_that_is_none_turns_nothing(tmp_path: Path) -> None:
    for number, wrong in enumerate((0, 9, 77)):
        exif = Image.Exif()
        exif[ORIENTATION] = wrong
        file = tmp_path / f"{number}.png"
        file.write_bytes(saved(sprite(), exif=exif))
        assert np.array_equal(read_picture(file), np.asarray(sprite()))
    file = tmp_path / "damaged.png"
    file.write_bytes(saved(sprite(), exif=b"Exif\0\0II*\0\xff\xff\xff\xff"))
    assert np.array_equal(read_picture(file), np.asarray(sprite()))


def test_a_folder_that_calls_itself_a_picture_is_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").mkdir()
    assert run(["snap", str(tmp_path / "a.png"), "--out", str(tmp_path / "out")]) == 2
    assert "has no pictures in it" in " ".join(capsys.readouterr().err.split())


COMMANDS: Mapping[str, list[str]] = {
    "snap": ["snap", "--out", "OUT", "--json", "--cutout", "--palette", "8", "--own-palette"],
    "snap with one palette": ["snap", "--out", "OUT", "--json", "--palette", "8"],
    "cutout": ["cutout", "--out", "OUT", "--json"],
    "inspect": ["inspect", "--json"],
    "mend": ["mend", "--out", "OUT", "--json"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_tells_what_it_cannot_read_and_goes_on(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder.parent / "out"
    given = [one.replace("OUT", str(out)) for one in COMMANDS[name]]
    assert run([given[0], str(folder), *given[1:]]) == 1
    printed = capsys.readouterr()
    assert "Traceback" not in printed.out + printed.err
    told = json.loads(printed.out)
    results = named(told["pictures"] if isinstance(told, dict) else told)
    assert set(results) == {*GOOD, *BAD}
    for bad, (_, words) in BAD.items():
        assert words in results[bad].get("error", "no error"), bad
    # what is wholly transparent, or all background, may be refused, in a sentence
    empty = {"transparent.png", "one colour.png", "one pixel.png", "8192x1.png", "1x8192.png"}
    for good in GOOD:
        error = results[good].get("error", "")
        assert not error or (good in empty and "\n" not in error), (good, error)


def test_a_palette_of_all_pictures_is_not_found_in_some(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder.parent / "all.hex"
    assert run(["palette", "find", str(folder), "--out", str(out)]) == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert any(name in told for name in BAD)
    assert not out.exists()
