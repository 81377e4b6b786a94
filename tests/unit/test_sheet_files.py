"""`spriteworks sheet` and `make_sheet`: from files to a sheet's files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from comfy_nodes.ops.frames import Direction
from orchestrator import MadeSheet, make_sheet
from orchestrator.cli import app
from orchestrator.errors import InputError, OutputError, UsageError
from sample_sheet import frames


def save(folder: Path, **names: int) -> Path:
    """Pictures of sample_sheet in a folder, by their index; a__b is b in the folder a."""
    pictures = [frame.picture for frame in frames()]
    for name, index in names.items():
        file = folder.joinpath(*name.split("__")).with_suffix(".png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pictures[index]).save(file)
    return folder


@pytest.fixture
def sprites(tmp_path: Path) -> Path:
    return save(tmp_path / "in", walk_1=0, walk_2=1, walk_10=2, idle_1=4, idle_2=5, potion=7)


def names_of(made: MadeSheet) -> dict[str, tuple[str, ...]]:
    return {one.name: one.frames for one in made.animations}


def test_files_with_numbers_are_animations(sprites: Path, tmp_path: Path) -> None:
    made = make_sheet(sprites, tmp_path / "out" / "hero")
    assert names_of(made) == {
        "idle": ("idle_1", "idle_2"),
        "walk": ("walk_1", "walk_2", "walk_10"),
    }
    assert (made.frames, made.unique) == (6, 5)
    assert made.files == (tmp_path / "out" / "hero.png", tmp_path / "out" / "hero.json")
    assert Image.open(made.files[0]).size == made.pages[0]
    told = json.loads(made.files[1].read_text())
    assert list(told["frames"]) == ["idle_1", "idle_2", "potion", "walk_1", "walk_2", "walk_10"]
    assert told["frames"]["walk_1"]["pivot"] == {"x": 0.5, "y": 1}
    assert sorted(file.name for file in made.files[0].parent.iterdir()) == ["hero.json", "hero.png"]


def test_folders_are_animations(tmp_path: Path) -> None:
    folder = save(tmp_path / "in", run__run_1=0, run__run_2=1, jump__a=4, jump__b=5, static=7)
    made = make_sheet(folder, tmp_path / "hero")
    assert names_of(made) == {"jump": ("jump_a", "jump_b"), "run": ("run_1", "run_2")}
    assert made.frames == 5


def test_files_that_are_numbers_are_their_folders_animation(tmp_path: Path) -> None:
    save(tmp_path, walk__1=0, walk__2=1, run__1=2)
    made = make_sheet([tmp_path / "walk", tmp_path / "run"], tmp_path / "hero")
    assert names_of(made) == {"walk": ("walk_1", "walk_2"), "run": ("run_1",)}


@pytest.mark.parametrize(
    ("file", "group"),
    [
        ("walk_01", "walk"),
        ("walk-1", "walk"),
        ("walk1", "walk"),
        ("walk (1)", "walk"),
        ("_7", None),
    ],
)
def test_names_are_split_before_their_number(tmp_path: Path, file: str, group: str | None) -> None:
    folder = save(tmp_path / "in", **{file: 0})
    made = make_sheet(folder, tmp_path / "hero")
    assert names_of(made) == ({group: (file,)} if group else {})


def test_pingpong_and_once(sprites: Path, tmp_path: Path) -> None:
    made = make_sheet(sprites, tmp_path / "hero", pingpong=["walk"], once=["idle"], fps=12.5)
    assert [(one.name, one.direction, one.loop) for one in made.animations] == [
        ("idle", Direction.FORWARD, False),
        ("walk", Direction.PINGPONG, True),
    ]
    told = json.loads((tmp_path / "hero.json").read_text())
    assert told["animations"]["walk"] == ["walk_1", "walk_2", "walk_10", "walk_2"]
    assert {frame["duration"] for frame in told["frames"].values()} == {80}


@pytest.mark.parametrize(
    ("pivot", "point"),
    [("bottom", (12, 32)), ("center", (12, 16)), ("3,30.5", (3, 30.5)), ((-2, 40), (-2, 40))],
)
def test_pivots(sprites: Path, tmp_path: Path, pivot: Any, point: tuple[float, float]) -> None:
    make_sheet(sprites, tmp_path / "hero", pivot=pivot)
    told = json.loads((tmp_path / "hero.json").read_text())["frames"]["walk_1"]["pivot"]
    assert (told["x"] * 24, told["y"] * 32) == pytest.approx(point, abs=1e-4)


def test_a_grid(sprites: Path, tmp_path: Path) -> None:
    made = make_sheet(sprites, tmp_path / "hero", columns=4)
    assert made.pages == ((4 * 24, 2 * 32),)
    page = np.asarray(Image.open(made.files[0]))
    np.testing.assert_array_equal(page[:32, 24:48], frames()[5].picture)
    spaced = make_sheet(sprites, tmp_path / "hero", columns=4, padding=2, extrude=1)
    assert spaced.pages == ((4 * 28 - 2, 2 * 36 - 2),)


def test_frames_may_be_turned(sprites: Path, tmp_path: Path) -> None:
    given = ["sheet", str(sprites), "--out", str(tmp_path / "hero"), "--for", "pixi", "--rotate"]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "hero.json").read_text())["frames"]
    assert {frame["rotated"] for frame in told.values()} == {True, False}


def test_near_frames_are_one_picture(sprites: Path, tmp_path: Path) -> None:
    shade = np.asarray(Image.open(sprites / "walk_1.png")).copy()
    shade[10, 10, :3] ^= 1
    Image.fromarray(shade).save(sprites / "walk_3.png")
    assert make_sheet(sprites, tmp_path / "hero").unique == 6
    given = ["sheet", str(sprites), "--out", str(tmp_path / "hero"), "--near", "0.02", "--json"]
    told = json.loads(CliRunner().invoke(app, given).stdout)
    assert (told["frames"], told["unique"]) == (7, 5)


def test_all_formats_at_once(sprites: Path, tmp_path: Path) -> None:
    every = "png,phaser,pixi,godot,unity,aseprite,tiled,libgdx,gamemaker,texturepacker,"
    made = make_sheet(sprites, tmp_path / "hero", formats=every + "texturepacker-array,contact")
    assert sorted(file.name for file in made.files) == sorted(
        [
            *("hero.png", "hero.json", "hero.anims.json", "hero.array.json", "hero.contact.png"),
            *("hero.tres", "hero.tscn", "hero.png.meta", "hero.unity.json"),
            *("SpriteworksSheetImporter.cs", "hero.aseprite", "hero.aseprite.json"),
            *("hero-tiles.png", "hero.tsx", "hero.atlas"),
            *("hero_idle_strip2.png", "hero_walk_strip3.png", "hero_potion_strip1.png"),
        ]
    )
    for file in made.files:
        if file.suffix == ".png":
            Image.open(file).load()
        elif file.suffix == ".json":
            json.loads(file.read_text("ascii"))


def test_the_same_twice_is_the_same(sprites: Path, tmp_path: Path) -> None:
    def content(made: MadeSheet) -> list[bytes]:
        return [file.read_bytes() for file in made.files]

    first = content(make_sheet(sprites, tmp_path / "hero", formats=["godot", "aseprite"]))
    assert first == content(make_sheet(sprites, tmp_path / "hero", formats=["godot", "aseprite"]))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"formats": "unreal"}, "--for unreal is not known; there are png, phaser"),
        ({"pivot": "left"}, "--pivot left is no point"),
        ({"fps": 0}, "--fps 0 is not in 0.1 to 1000"),
        ({"pingpong": ["run"]}, "--pingpong run is no animation here; there are idle, walk"),
        ({"max_size": 16}, "Frame idle_1 of 11x26 does not fit on a page of 16x16"),
        ({"padding": 999}, "padding is 0 to 256"),
        ({"columns": 2, "power_of_two": True}, "leave out --columns or --power-of-two"),
        ({"columns": 2, "rotate": True}, "leave out --columns or --rotate"),
        ({"columns": 2, "near": 0.1}, "leave out --columns or --rotate and --near"),
        ({"near": 1.5}, "--near 1.5 is not in 0 to 1"),
        ({"near": float("nan")}, "--near nan is not in 0 to 1"),
        ({"formats": "pixi,godot", "rotate": True}, "godot cannot turn a rotated frame back"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is_written(
    sprites: Path, tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        make_sheet(sprites, tmp_path / "out" / "hero", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["hero.png", "he/..", "a:b", "a\nb", "CON", "nul"])
def test_a_name_that_is_none_is_told(sprites: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is no name of a sheet"):
        make_sheet(sprites, tmp_path / name)


def test_a_folder_that_is_a_file_is_told(sprites: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match=r"hero\.png cannot be written"):
        make_sheet(sprites, tmp_path / "taken" / "hero")
    assert (tmp_path / "taken").read_text("utf-8") == "mine"


def test_an_animated_picture_is_told(sprites: Path, tmp_path: Path) -> None:
    first, *more = (Image.fromarray(frame.picture) for frame in frames()[:3])
    first.save(sprites / "walk.png", save_all=True, append_images=more)
    with pytest.raises(InputError, match="has 3 frames; give them as single pictures"):
        make_sheet(sprites, tmp_path / "hero")


def test_inputs_are_never_overwritten(sprites: Path) -> None:
    before = (sprites / "potion.png").read_bytes()
    with pytest.raises(UsageError, match="is one of the pictures to read"):
        make_sheet(sprites, sprites / "potion")
    assert (sprites / "potion.png").read_bytes() == before


def test_two_frames_of_one_name_are_told(sprites: Path, tmp_path: Path) -> None:
    other = save(tmp_path / "other", walk_1=3)
    with pytest.raises(UsageError, match="would both be the frame walk_1"):
        make_sheet([sprites, other], tmp_path / "hero")


def test_a_picture_that_is_none_is_told(sprites: Path, tmp_path: Path) -> None:
    (sprites / "walk_3.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"walk_3\.png"):
        make_sheet(sprites, tmp_path / "out" / "hero")
    assert not (tmp_path / "out").exists()


def test_all_is_written_or_nothing(
    sprites: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    make_sheet(sprites, out / "hero", formats="godot")
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    replace = os.replace

    def full(part: Path, target: Path) -> None:
        if target.suffix == ".tscn":
            raise OSError(28, "No space left on device")
        replace(part, target)

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OutputError, match=r"hero\.tscn cannot be written"):
        make_sheet(sprites, out / "hero", formats="phaser,godot", fps=30)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


def test_the_command(sprites: Path, tmp_path: Path) -> None:
    given = ["sheet", str(sprites), "--out", str(tmp_path / "hero"), "--for", "pixi, libgdx"]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    assert done.stdout.split() == [
        str(tmp_path / name) for name in ("hero.png", "hero.json", "hero.atlas")
    ]
    assert "hero: 6 frames (1 the same as another) on " in done.stderr
    told = json.loads(CliRunner().invoke(app, [*given, "--json"]).stdout)
    assert set(told) == {"name", "files", "pages", "frames", "unique", "animations", "fill"}
    assert 0.5 < told["fill"] <= 1


def test_every_format_is_in_the_help() -> None:
    from comfy_nodes.formats.sheets import FORMATS
    from orchestrator.sprites.sheet_cli import _KNOWN

    assert _KNOWN.split("|") == list(FORMATS)
