"""What is written for engines that cannot be opened here, and what all formats share.

tests/engines opens the others. The golden files are in tests/data/sheets.
"""

from __future__ import annotations

import ast
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comfy_nodes.errors import BadInput
from comfy_nodes.formats.sheets import FORMATS, aseprite, write
from comfy_nodes.formats.sheets.contact import picture
from comfy_nodes.ops.frames import Animation, Frame
from comfy_nodes.ops.sheet import Sheet, all_animations, common_canvas, packed
from sample_sheet import animations, frames, on_ground

SIZE, POINT = (64, 64), (30, 50)
GOLDEN = ("hero.atlas", "hero.unity.json", "hero.png.meta", "hero.aseprite.json", "hero.anims.json")


@pytest.fixture(scope="module")
def sheet() -> Sheet:
    return packed(frames(), animations())


@pytest.fixture(scope="module")
def files(sheet: Sheet) -> dict[str, bytes]:
    return write(sheet, "hero", FORMATS)


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def placed(part: np.ndarray, x: float, y: float) -> np.ndarray:
    """A picture of SIZE with `part` at x, y."""
    board = np.zeros((SIZE[1], SIZE[0], 4), np.uint8)
    left, top = round(x), round(y)
    assert (left, top) == pytest.approx((x, y), abs=1e-3)
    board[top : top + part.shape[0], left : left + part.shape[1]] = part
    return board


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_files(repository: Path, files: dict[str, bytes], name: str) -> None:
    golden = (repository / "tests" / "data" / "sheets" / name).read_text("utf-8")
    assert files[name].decode("utf-8") == golden


def test_unity_draws_each_frame_on_the_ground(files: dict[str, bytes]) -> None:
    """As Unity does: from the bottom, with the pivot at the object's place."""
    told = json.loads(files["hero.unity.json"])
    page = pixels(files["hero.png"])
    assert told["size"] == {"w": page.shape[1], "h": page.shape[0]}
    for frame, sprite in zip(frames(), told["sprites"], strict=True):
        rect, pivot = sprite["rect"], sprite["pivot"]
        from_below = page[::-1][
            rect["y"] : rect["y"] + rect["h"], rect["x"] : rect["x"] + rect["w"]
        ]
        left = POINT[0] - pivot["x"] * rect["w"]
        below = POINT[1] + pivot["y"] * rect["h"]
        drawn = placed(from_below[::-1], left, below - rect["h"])
        np.testing.assert_array_equal(drawn, on_ground(frame, SIZE, POINT))


def test_the_script_for_unity_reads_what_the_json_has(files: dict[str, bytes]) -> None:
    script = files["SpriteworksSheetImporter.cs"].decode()
    told = json.loads(files["hero.unity.json"])
    names = {
        *told,
        *told["sprites"][0],
        *told["animations"][0],
        *told["animations"][0]["frames"][0],
    }
    for name in names - {"image", "size"}:
        assert re.search(rf"\b{name}\b", script), name
    assert script.count("{") == script.count("}")


@pytest.mark.parametrize("rotate", [False, True])
def test_libgdx_draws_each_frame_on_the_ground(rotate: bool) -> None:
    """As AtlasSprite does: offsets are from the left and from the bottom of the whole frame.

    It turns a rotated region clockwise, so it was turned the other way.
    """
    sheet = packed(frames(), animations(), rotate=rotate, extrude=2)
    # the others' pages are as they were
    files = write(sheet, "hero", ["libgdx", "pixi"])
    assert ("hero-libgdx.png" in files) == rotate
    np.testing.assert_array_equal(pixels(files["hero.png"]), sheet.pages[0])
    text = files["hero.atlas"].decode()
    page = pixels(files[text.splitlines()[0]])
    regions = re.findall(r"^(\w+)\nindex: (\d+)\n((?:\w+: .*\n){4,5})", text, re.MULTILINE)
    assert ("rotate: 90\n" in text) == rotate
    for frame, (name, index, values) in zip(frames(), regions, strict=True):
        assert f"{name}_{index}" == frame.name
        found = {key: ast.literal_eval(value) for key, value in re.findall(r"(\w+): (.*)", values)}
        x, y, width, height = found["bounds"]
        left, below, _, whole = found["offsets"]
        at = (
            POINT[0] - found["pivot"][0] + left,
            POINT[1] - found["pivot"][1] + whole - below - height,
        )
        turned = "rotate" in found
        across, down = (height, width) if turned else (width, height)
        edge = page[y - 2 : y + down + 2, x - 2 : x + across + 2]
        part = np.rot90(edge, -1 if turned else 0)
        np.testing.assert_array_equal(
            part, np.pad(part[2:-2, 2:-2], ((2, 2), (2, 2), (0, 0)), "edge")
        )
        drawn = placed(part[2:-2, 2:-2], *at)
        np.testing.assert_array_equal(drawn, on_ground(frame, SIZE, POINT))
        assert found["duration"] == frame.duration


def test_gamemaker_gets_a_strip_for_each_animation(files: dict[str, bytes]) -> None:
    canvas = common_canvas(frames())
    point = int(canvas.pivot[0]), int(canvas.pivot[1])
    by_name = {frame.name: frame for frame in frames()}
    for one in animations():
        strip = pixels(files[f"hero_{one.name}_strip{len(one.frames)}.png"])
        cells = np.split(strip, len(one.frames), axis=1)
        for name, cell in zip(one.frames, cells, strict=True):
            np.testing.assert_array_equal(cell, on_ground(by_name[name], canvas.size, point))


def test_the_contact_sheet_shows_every_frame(sheet: Sheet) -> None:
    single = Frame.whole("lone", np.full((20, 20, 4), 255, np.uint8))
    with_single = packed([*frames(), single], animations())
    shown = picture(with_single)
    width, height = common_canvas([*frames(), single]).size
    assert shown.shape[0] % (4 * height) == 0
    assert shown.shape[1] % (4 * width) == 0
    assert (shown[..., 3] == 255).all()
    assert (shown[3 * shown.shape[0] // 4 :, : width * 3, :3] == 255).all(axis=2).sum() > 20 * 20
    assert picture(sheet).shape[0] == 3 * shown.shape[0] // 4


def test_a_frame_in_no_animation_can_be_asked_for() -> None:
    picture = np.full((4, 4, 4), 255, np.uint8)
    icons = [Frame.whole(name, picture) for name in ("potion", "walk", "walk_1")]
    sheet = packed(icons, [Animation("walk", ("walk_1",))])
    assert [(one.name, one.frames, one.loop) for one in all_animations(sheet)] == [
        ("walk", ("walk_1",), True),
        ("potion", ("potion",), False),
        ("walk_", ("walk",), False),
    ]
    assert b'"name": &"potion"' in write(sheet, "icons", ["godot"])["icons.tres"]


def test_names_are_escaped() -> None:
    picture = np.full((4, 4, 4), 255, np.uint8)
    name = 'a "b" <c> & \\d é'
    sheet = packed([Frame.whole(name, picture)], [Animation(name, (name,))])
    made = write(sheet, "odd", ["godot", "tiled", "phaser", "aseprite", "libgdx"])
    assert json.loads(made["odd.anims.json"])["anims"][0]["key"] == name
    assert '&"a \\"b\\" <c> & \\\\d é"' in made["odd.tres"].decode("utf-8")
    assert "&lt;c&gt; &amp;" in made["odd.tsx"].decode("utf-8")


def test_aseprite_says_what_it_cannot_hold() -> None:
    picture = np.full((4, 4, 4), 255, np.uint8)
    with pytest.raises(BadInput, match="at most 65,535 ms"):
        aseprite.picture([Frame.whole("a", picture, duration=70_000)])
    several = packed(frames(), animations(), largest=60)
    assert list(write(several, "hero", ["aseprite"])) == ["hero.aseprite"]
    with pytest.raises(BadInput, match="one page"):
        aseprite.sheet_json(several, "hero")


def test_an_unknown_format_is_told(sheet: Sheet) -> None:
    with pytest.raises(BadInput, match="unreal is no format of a sheet; those there are: png, "):
        write(sheet, "hero", ["unreal"])


ABLE = {
    *("png", "pixi", "tiled", "libgdx", "gamemaker"),
    *("texturepacker", "texturepacker-array", "contact"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_rotated_frames_are_for_readers_that_turn_them_back(name: str) -> None:
    rotated = packed(frames(), animations(), rotate=True)
    if name in ABLE:
        assert write(rotated, "hero", [name])
        return
    with pytest.raises(BadInput, match=f"{name} cannot turn a rotated frame back: leave out"):
        write(rotated, "hero", ["png", name])


@pytest.mark.parametrize("name", ["texturepacker", "texturepacker-array"])
def test_texturepacker_draws_rotated_frames_on_the_ground(name: str) -> None:
    """As its documentation has it: on the page clockwise, and the size is the frame's own."""
    files = write(packed(frames(), animations(), rotate=True), "hero", [name])
    told = json.loads(files["hero.array.json" if "array" in name else "hero.json"])["frames"]
    listed = told if isinstance(told, list) else list(told.values())
    page = pixels(files["hero.png"])
    assert {said["rotated"] for said in listed} == {True, False}
    for frame, said in zip(frames(), listed, strict=True):
        x, y, width, height = said["frame"].values()
        across, down = (height, width) if said["rotated"] else (width, height)
        part = np.rot90(page[y : y + down, x : x + across], 1 if said["rotated"] else 0)
        source, trim = said["sourceSize"], said["spriteSourceSize"]
        left = POINT[0] - said["pivot"]["x"] * source["w"] + trim["x"]
        top = POINT[1] - said["pivot"]["y"] * source["h"] + trim["y"]
        np.testing.assert_array_equal(placed(part, left, top), on_ground(frame, SIZE, POINT))


def test_tags_are_ranges_only() -> None:
    ends = [Animation("ends", ("walk_1", "walk_4")), Animation("walk", ("walk_1", "walk_2"))]
    told: Any = json.loads(write(packed(frames(), ends), "a", ["pixi"])["a.json"])
    assert [tag["name"] for tag in told["meta"]["frameTags"]] == ["walk"]
    assert told["animations"]["ends"] == ["walk_1", "walk_4"]


@pytest.mark.parametrize("name", ["", "a\nb", " a", "a\u202e"])
def test_a_name_that_breaks_lines_is_told(name: str) -> None:
    frame = Frame.whole(name, np.full((4, 4, 4), 255, np.uint8))
    with pytest.raises(BadInput, match="is no name of a frame or an animation"):
        write(packed([frame]), "hero", ["libgdx"])


@pytest.mark.parametrize("name", ["../walk", "a:b", "a\\b"])
def test_a_name_that_leaves_its_folder_is_told(name: str) -> None:
    with pytest.raises(BadInput, match="cannot be the name of a file"):
        write(packed(frames(), [Animation(name, ("walk_1",))]), "hero", ["gamemaker"])


@pytest.mark.parametrize("name", ["CON", "nul", "Lpt1", "aux "])
def test_a_name_that_is_a_device_on_windows_is_told(sheet: Sheet, name: str) -> None:
    with pytest.raises(BadInput, match="cannot be the name of a file on every system"):
        write(sheet, name, ["libgdx"])
    assert write(sheet, f"{name}sole", ["libgdx"])


def test_no_two_regions_of_libgdx_are_one() -> None:
    picture = np.full((4, 4, 4), 255, np.uint8)
    names = ("run_1", "run_01", "run 1", "run_2", "run", "7")
    made = write(packed([Frame.whole(name, picture) for name in names]), "a", ["libgdx"])
    regions = re.findall(r"^(\w[\w ]*)\n(?:index: (\d+)\n)?bounds", made["a.atlas"].decode(), re.M)
    assert regions == [
        *(("run_1", ""), ("run_01", ""), ("run 1", "")),
        *(("run", "2"), ("run", ""), ("7", "")),
    ]


def test_names_that_some_systems_do_not_tell_apart_are_told() -> None:
    pair = [Animation("walk", ("walk_1",)), Animation("Walk", ("walk_2",))]
    with pytest.raises(BadInput, match="would be one file on some systems"):
        write(packed(frames(), pair), "hero", ["gamemaker"])
