"""`snap --palette` and `spriteworks palette`: files in, files out, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fake_grids
import orchestrator
from comfy_nodes.formats.palettes import Palette, PaletteFormat, write
from comfy_nodes.formats.well_known import WELL_KNOWN, by_name
from comfy_nodes.ops.color import pack, unpack
from orchestrator.__main__ import run
from orchestrator.errors import InputError, UsageError
from orchestrator.sprites import together

Pixels = fake_grids.Pixels


def save(path: Path, pixels: Pixels, pitch: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.repeat(pitch, axis=0).repeat(pitch, axis=1)).save(path)
    return path


def colours(*files: Path) -> set[int]:
    """All colours of the files, as numbers."""
    found: set[int] = set()
    for file in files:
        found |= set(pack(np.asarray(Image.open(file).convert("RGB"))).ravel().tolist())
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four sprites of fake pixels, each with colours of its own."""
    for seed in range(4):
        save(
            tmp_path / "in" / f"{seed}.png", fake_grids.figure(np.random.default_rng(seed)), pitch=6
        )
    return tmp_path / "in"


def told(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


# --------------------------------------------------------------------------- snap --palette


def test_a_number_is_one_palette_for_all_and_again_changes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, again = folder.parent / "out", folder.parent / "again"
    command = ["--palette", "9", "--dither", "bayer-4", "--json"]
    assert run(["snap", str(folder), "--out", str(out), *command]) == 0
    first = told(capsys)
    assert len({tuple(one["palette"]) for one in first}) == 1
    assert list(first[0])[-1] == "palette"
    made = sorted(out.iterdir())
    assert colours(*made) <= {int(one[1:], 16) for one in first[0]["palette"]}
    assert len(first[0]["palette"]) == 9
    assert run(["snap", str(out), "--out", str(again), *command]) == 0
    told(capsys)
    for file in made:
        assert (again / file.name).read_bytes() == file.read_bytes()


def test_each_can_have_its_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder.parent / "out"
    arguments = ["snap", str(folder), "--out", str(out), "--palette", "5", "--own-palette"]
    assert run([*arguments, "--json"]) == 0
    assert len({tuple(one["palette"]) for one in told(capsys)}) == 4
    assert len(colours(*out.iterdir())) > 5


def test_pictures_that_wait_on_the_disk_are_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, spilled = folder.parent / "kept", folder.parent / "spilled"
    orchestrator.snap(folder, kept, palette=9)
    monkeypatch.setattr(together, "_IN_MEMORY", 1000)
    orchestrator.snap(folder, spilled, palette=9)
    for file in kept.iterdir():
        assert (spilled / file.name).read_bytes() == file.read_bytes()


def test_a_bad_file_neither_stops_the_others_nor_has_a_say_in_the_palette(folder: Path) -> None:
    good = orchestrator.snap(folder, folder.parent / "good", palette=6)
    (folder / "1b.png").write_bytes(b"no picture")
    steps: list[tuple[int, int]] = []
    results = orchestrator.snap(
        folder, folder.parent / "out", palette=6, looked=lambda *at: steps.append(at)
    )
    assert [one.ok for one in results] == [True, True, False, True, True]
    assert [one.palette for one in results if one.ok] == [one.palette for one in good]
    assert steps == [(number, 5) for number in range(1, 6)]


def test_only_what_is_seen_counts(tmp_path: Path) -> None:
    picture = np.zeros((10, 10, 4), dtype=np.uint8)
    picture[..., :3] = np.random.default_rng(0).integers(0, 256, (10, 10, 3))
    picture[2:8, 2:8] = (10, 200, 30, 255)
    file = save(tmp_path / "a.png", picture)
    (result,) = orchestrator.snap(file, tmp_path / "out", palette=8)
    assert result.palette == ("#0ac81e",)
    assert result.saved is not None
    saved = np.asarray(Image.open(result.saved))
    assert not saved[saved[..., 3] == 0].any()
    empty = save(tmp_path / "b.png", np.zeros((10, 10, 4), dtype=np.uint8))
    (nothing,) = orchestrator.snap(empty, tmp_path / "out", palette=8)
    assert "no picture has a pixel that can be seen" in nothing.error


@pytest.mark.parametrize("given", ["game-boy", "Game Boy", "0f380f,306230 #8bac0f;9bbc0f", "file"])
def test_a_palette_is_a_name_colours_or_a_file(folder: Path, given: str) -> None:
    if given == "file":
        given = str(folder.parent / "mine.gpl")
        Path(given).write_bytes(write(by_name("game-boy"), PaletteFormat.GPL))
    out = folder.parent / "out"
    results = orchestrator.snap(folder, out, palette=given)
    assert results[0].palette == ("#0f380f", "#306230", "#8bac0f", "#9bbc0f")
    assert colours(*out.iterdir()) <= {0x0F380F, 0x306230, 0x8BAC0F, 0x9BBC0F}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--palette", "0"], "a palette of 0 colours cannot be found; 1 to 256 can"),
        (["--palette", "300"], "a palette of 300 colours cannot be found; 1 to 256 can"),
        (["--palette", "-3"], "is no palette"),
        (["--palette", "nice"], "no file nice. 'nice' is no palette: write hex"),
        (["--palette", "#12345"], "is no colour"),
        (["--palette", ""], "the palette is empty"),
        (["--palette", "not/there.gpl"], "is not there"),
        (["--palette", "there.gpl"], "there.gpl is not there"),
        (["--palette", "empty.hex"], "empty.hex: The palette file is empty"),
        (["--palette", "in"], "in is a folder"),
        (["--palette", "in/photo.jpg"], "a GIF or JPEG picture; what can be read is .hex"),
        (["--palette", ", ".join(f"{n:06x}" for n in range(300))], "300 colours; at most 256"),
        (["--dither", "bayer-4"], "nothing to dither (bayer-4) without a palette"),
        (["--palette", "4", "--dither", "noise"], "there are none, bayer-2, bayer-4"),
        (["--palette", "cga", "--own-palette"], "where a number of colours is given"),
        (["--palette", "4", "--own-palette", "--sequence"], "would flicker"),
    ],
)
def test_what_is_no_palette_is_refused_before_anything_is_written(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save(tmp_path / "in" / "x.png", fake_grids.figure(np.random.default_rng(1)))
    save(tmp_path / "in" / "photo.jpg", fake_grids.figure(np.random.default_rng(1)))
    (tmp_path / "empty.hex").write_bytes(b"\n")
    monkeypatch.chdir(tmp_path)
    assert run(["snap", "in/x.png", "--out", "out", *arguments]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_a_file_of_300_colours_is_a_palette(tmp_path: Path) -> None:
    many = unpack(np.arange(300, dtype=np.int64) * 50_000)
    save(tmp_path / "many.png", many[None])
    picture = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    file = save(tmp_path / "x.png", picture)
    (result,) = orchestrator.repaint(file, tmp_path / "out", tmp_path / "many.png")
    assert len(result.palette) == 300
    assert result.saved is not None
    assert colours(result.saved) <= set(pack(many).tolist())


# --------------------------------------------------------------------- spriteworks palette


def test_the_list_says_how_many_colours_and_where_they_are_from(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["palette", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(WELL_KNOWN)
    assert lines[0].split()[1] == "16"
    assert all(one.source in line for line, one in zip(lines, WELL_KNOWN.values(), strict=True))
    assert run(["palette", "list", "--json"]) == 0
    assert {one["name"]: len(one["colours"]) for one in told(capsys)}["ega"] == 64


def test_show_is_a_hex_file_and_names_the_ramps(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["palette", "show", "sweetie-16"]) == 0
    assert capsys.readouterr().out.encode() == write(by_name("sweetie-16"), PaletteFormat.HEX)
    assert run(["palette", "show", "sweetie-16", "--ramps"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == [
        "grey",
        "red",
        "orange",
        "green",
        "cyan",
        "blue",
        "purple",
    ]
    assert lines[1] == ["red", "#b13e53", "#ef7d57"]
    assert run(["palette", "show", "sweetie-16", "--json"]) == 0
    data = told(capsys)
    assert data["name"] == "Sweetie 16"
    assert data["ramps"]["red"] == ["#b13e53", "#ef7d57"]
    assert sorted(one for ramp in data["ramps"].values() for one in ramp) == sorted(data["colours"])


def test_find_makes_one_palette_of_a_folder(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = folder.parent / "new" / "hero.gpl"
    assert run(["palette", "find", str(folder), "--colours", "7", "--out", str(target)]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    found = orchestrator.read_palette(target)
    assert found.name == "hero"
    assert found.colours == orchestrator.find_palette(folder, 7).colours
    assert len(found.colours) == 7
    assert {int(bytes(one).hex(), 16) for one in found.colours} <= colours(*folder.iterdir())
    assert run(["palette", "find", str(folder), "--colours", "7"]) == 0
    assert capsys.readouterr().out.encode() == write(found, PaletteFormat.HEX)


def test_the_folder_of_now_is_a_place_for_results(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    assert run(["palette", "convert", "cga", "cga.hex"]) == 0
    assert run(["palette", "apply", "in/0.png", "--palette", "cga.hex", "--out", "."]) == 0
    assert colours(Path("0.png")) <= set(pack(by_name("cga").array()).tolist())


def test_find_refuses_a_wrong_ending_and_a_picture_that_is_none(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["palette", "find", str(folder), "--out", "hero.txt"]) == 2
    assert "the endings are .hex, .gpl, .pal, .ase, .png" in capsys.readouterr().err
    assert run(["palette", "find", str(folder), "--colours", "0"]) == 2
    (folder / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InputError, match=r"cut\.png"):
        orchestrator.find_palette(folder)


@pytest.mark.parametrize("ending", ["hex", "gpl", "pal", "ase", "png"])
def test_convert_writes_each_format(ending: str, tmp_path: Path) -> None:
    target = tmp_path / f"mine.{ending}"
    assert run(["palette", "convert", "pico-8", str(target)]) == 0
    again = orchestrator.read_palette(target)
    assert again.colours == by_name("pico-8").colours
    back = tmp_path / "back.ase"
    assert run(["palette", "convert", str(target), str(back)]) == 0
    assert orchestrator.read_palette(str(back)).colours == again.colours


def test_apply_takes_pictures_as_they_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder.parent / "out"
    assert run(["palette", "apply", str(folder), "--palette", "cga", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [str(out / f"{seed}.png") for seed in range(4)]
    assert f"{folder / '0.png'}: " in printed.err
    for file in folder.iterdir():
        assert Image.open(out / file.name).size == Image.open(file).size
    assert colours(*out.iterdir()) <= set(pack(by_name("cga").array()).tolist())


# -------------------------------------------------------------------------------- swapping


@pytest.fixture
def knight(tmp_path: Path) -> Path:
    """A picture of the red and blue ramps of Sweetie 16, with a transparent corner."""
    picture = np.zeros((4, 4, 4), dtype=np.uint8)
    picture[..., 3] = 255
    picture[0, :2, :3] = [(0xB1, 0x3E, 0x53), (0xEF, 0x7D, 0x57)]
    picture[1, :2, :3] = [(0x25, 0x71, 0x79), (0x73, 0xEF, 0xF7)]
    picture[3, 3] = 0
    return save(tmp_path / "knights" / "knight.png", picture)


def swapped(knight: Path, *arguments: str) -> Pixels:
    out = knight.parent.parent / "out"
    assert run(["palette", "swap", str(knight.parent), "--out", str(out), *arguments]) == 0
    return np.asarray(Image.open(out / knight.name))


def test_ramps_change_places_dark_to_dark(knight: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = np.asarray(Image.open(knight))
    after = swapped(knight, "--ramp", "red=cyan", "--ramp", "cyan=red", "--json")
    assert np.array_equal(after[0, :2], before[1, :2])
    assert np.array_equal(after[1, :2], before[0, :2])
    assert np.array_equal(after[2:], before[2:])
    assert told(capsys) == [{"file": str(knight), "changed": 4}]
    # ... and back
    out = knight.parent.parent / "out"
    assert orchestrator.swap_ramps(out, knight.parent.parent / "back", [("red", "cyan")])[0].ok


def test_a_ramp_can_be_of_a_palette_or_of_colours(knight: Path) -> None:
    of_palette = swapped(knight, "--ramp", "red=green", "--palette", "sweetie-16")
    assert of_palette[0, :2, :3].tolist() == [[0x38, 0xB7, 0x64], [0xA7, 0xF0, 0x70]]
    of_black = swapped(knight, "--ramp", "#000=#fff")
    assert of_black[2].min() == 255
    assert not of_black[3, 3].any()  # it is hidden
    of_colours = swapped(knight, "--ramp", "b13e53,ef7d57=#000,#888,#fff")
    assert of_colours[0, :2, :3].tolist() == [[0, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ramp", "gold=red"], "There is no ramp 'gold'. Those there are: grey, red, cyan."),
        (
            ["--ramp", "gold=red", "--palette", "cga"],
            "There is no ramp 'gold'. Those there are: grey, ",
        ),
        (["--ramp", "red"], "give OLD=NEW, such as red=blue"),
        (["--ramp", "red=grey", "--ramp", "red=cyan"], "at once"),
        (["--ramp", "#12=#fff"], "is no colour"),
        ([], "--ramp"),
    ],
)
def test_what_is_no_ramp_is_refused(
    arguments: list[str], words: str, knight: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = knight.parent.parent / "out"
    assert run(["palette", "swap", str(knight), "--out", str(out), *arguments]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def test_ramps_have_no_names_where_there_are_hundreds_of_colours(knight: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 30, 3), dtype=np.uint8)
    save(knight.parent / "noise.png", noise)
    out = knight.parent.parent / "out"
    with pytest.raises(UsageError, match="too many for ramps with names"):
        orchestrator.swap_ramps(knight.parent, out, [("red", "blue")])
    first = bytes(noise[0, 0]).hex()
    results = orchestrator.swap_ramps(knight.parent, out, [(f"#{first}", "#123456")])
    assert [one.changed for one in results] == [0, 1]


def test_palettes_need_no_torch(folder: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import orchestrator\n"
        "assert orchestrator.repaint(sys.argv[1], sys.argv[2], 4)[0].ok\n"
    )
    repository = Path(orchestrator.__file__).parents[1]
    out = str(folder.parent / "out")
    subprocess.run([sys.executable, "-c", code, str(folder), out], check=True, cwd=repository)


def test_a_palette_is_taken_as_it_is() -> None:
    mine = Palette("mine", ((1, 2, 3),))
    assert orchestrator.read_palette(mine) is mine
