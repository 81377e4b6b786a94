"""The shipped manifests of sets: icons and frames that match, and the sheet that they are on."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from comfy_nodes.ops.measures.catalogue import MEASURES
from comfy_nodes.ops.measures.subject import Subject

pytestmark = pytest.mark.timeout(300)
Pixels = np.ndarray


def made(manifest: Path, out: Path) -> dict[str, object]:
    """Run a manifest on one engine of our own; what its export says."""
    command = [sys.executable, "-m", "orchestrator", "batch", "run", str(manifest)]
    done = subprocess.run(
        [*command, "--out", str(out), "--engines", "1", "--json"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=out.parent,
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    (told,) = [event for event in events if event["event"] == "export"]
    assert told["errors"] == {}
    return dict(told)


def read(files: list[Path]) -> dict[str, Pixels]:
    """uint8 [H, W, 4] of each file, by its name."""
    return {file.stem: np.asarray(Image.open(file).convert("RGBA")) for file in files}


def colours(pictures: dict[str, Pixels]) -> set[tuple[int, ...]]:
    """That can be seen in any of them."""
    return {
        tuple(one)
        for picture in pictures.values()
        for one in picture[picture[..., 3] > 0][:, :3].tolist()
    }


def cut(sheet: Path, name: str) -> dict[str, Pixels]:
    """The whole frames of a sheet by its Phaser file."""
    page = np.asarray(Image.open(sheet / f"{name}.png").convert("RGBA"))
    atlas = json.loads((sheet / f"{name}.json").read_text("utf-8"))
    found = {}
    for frame, told in atlas["frames"].items():
        box, at, size = told["frame"], told["spriteSourceSize"], told["sourceSize"]
        whole = np.zeros((size["h"], size["w"], 4), np.uint8)
        part = page[box["y"] : box["y"] + box["h"], box["x"] : box["x"] + box["w"]]
        whole[at["y"] : at["y"] + box["h"], at["x"] : at["x"] + box["w"]] = part
        found[frame] = whole
    return found


@pytest.mark.slow
def test_eight_icons_match_and_are_on_one_sheet(repository: Path, tmp_path: Path) -> None:
    told = made(repository / "workflows" / "batches" / "icons.yaml", tmp_path / "out")
    icons = read(sorted((tmp_path / "out" / "export").glob("*.png")))
    assert len(icons) == 8
    assert len(colours(icons)) <= 32
    shapes = [picture[..., 3] >= 128 for picture in icons.values()]
    assert {shape.shape for shape in shapes} == {(32, 32)}
    rows = [np.flatnonzero(shape.any(axis=1)) for shape in shapes]
    assert {int(one[-1]) for one in rows} == {30}
    heights = {int(one[-1] - one[0]) + 1 for one in rows}
    assert max(heights) - min(heights) <= 1
    assert (told["canvas"], told["pivot"]) == ([32, 32], [16, 31])
    sheet = tmp_path / "out" / "export" / "sheet"
    for name, picture in cut(sheet, "icons").items():
        np.testing.assert_array_equal(picture, icons[name], name)
    assert {"icons.tres", "icons.tscn"} <= {file.name for file in sheet.iterdir()}
    # what came has stayed: an icon of 32x32 in colours of its own
    came = read(sorted((tmp_path / "out").glob("*.png")))
    assert came.keys() == icons.keys()
    assert len(colours(came)) > 32


def test_frames_stand_still_and_are_an_animation(repository: Path, tmp_path: Path) -> None:
    told = made(repository / "workflows" / "batches" / "frames.yaml", tmp_path / "out")
    frames = read(sorted((tmp_path / "out" / "export" / "walk").glob("*.png")))
    assert list(frames) == [f"walk_{index}" for index in range(1, 9)]
    assert len(colours(frames)) <= 16
    subjects = [Subject(picture) for picture in frames.values()]
    assert MEASURES["baseline_jitter"].function(subjects) == 0
    assert MEASURES["centroid_jitter"].function(subjects) == 0
    # the very pixels that were drawn, without the background
    drawn = runpy.run_path(str(repository / "scripts" / "draw_walk_example.py"))
    assert (told["canvas"], told["pivot"]) == ([32, 38], [16, 37])
    for index, picture in enumerate(frames.values()):
        alone = np.asarray(drawn["frame"](index).convert("RGB"))
        there = (alone != drawn["BACKGROUND"]).any(axis=2)
        rows, columns = there.any(axis=1), there.any(axis=0)
        seen = picture[..., 3] > 0
        found = picture[seen.any(axis=1)][:, seen.any(axis=0)]
        np.testing.assert_array_equal(found[..., 3] > 0, there[rows][:, columns])
        own = alone[rows][:, columns]
        np.testing.assert_array_equal(found[..., :3][found[..., 3] > 0], own[found[..., 3] > 0])
    sheet = tmp_path / "out" / "export" / "sheet"
    for name, picture in cut(sheet, "hero").items():
        np.testing.assert_array_equal(picture, frames[name], name)
    (walk,) = json.loads((sheet / "hero.anims.json").read_text("utf-8"))["anims"]
    assert [shown["frame"] for shown in walk["frames"]] == list(frames)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    ("name", "pictures", "most", "sheet"),
    [
        ("dungeon", 30, 32, {"dungeon.tsx", "dungeon.tres"}),
        ("party", 8, 48, {"party.json", "party.tres"}),
        ("bestiary", 40, 64, {"bestiary.json", "bestiary.tres"}),
        ("hero-walk", 4, 16, {"hero.tres", "hero.tscn"}),
    ],
)
def test_the_parts_of_a_game_are_made_with_the_model_that_ships(
    repository: Path, tmp_path: Path, name: str, pictures: int, most: int, sheet: set[str]
) -> None:
    told = made(repository / "workflows" / "batches" / f"{name}.yaml", tmp_path / "out")
    folder = tmp_path / "out" / "export"
    found = read(sorted((folder / "walk" if name == "hero-walk" else folder).glob("*.png")))
    assert len(found) == pictures
    assert len(colours(found)) <= most
    if name == "dungeon":
        assert {tuple(one.shape[:2]) for one in found.values()} == {(32, 32)}
        assert all((one[..., 3] == 255).all() for one in found.values())
    else:
        assert {one.shape[1::-1] for one in found.values()} == {tuple(told["canvas"])}  # type: ignore[arg-type]
    assert sheet <= {file.name for file in (folder / "sheet").iterdir()}


def test_the_frames_that_are_shipped_are_those_that_are_drawn(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = runpy.run_path(str(repository / "scripts" / "draw_walk_example.py"))
    main = drawn["main"]
    monkeypatch.setitem(main.__globals__, "FOLDER", tmp_path)
    main()
    shipped = read(sorted((repository / "workflows" / "inputs" / "walk").glob("*.png")))
    again = read(sorted(tmp_path.glob("*.png")))
    assert shipped.keys() == again.keys()
    for name, picture in shipped.items():
        np.testing.assert_array_equal(picture, again[name], name)
