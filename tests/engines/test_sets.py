"""Phaser and Godot open the sheets that the shipped manifests of sets make."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from godot_game import shown

SIZE, POINT = (64, 64), (30, 50)
REPOSITORY = Path(__file__).resolve().parents[2]
Decode = Callable[[dict[str, Any]], np.ndarray]
# the manifest, its sheet, and the folder of the pictures
SETS = [
    pytest.param(("icons", "icons", "."), marks=pytest.mark.slow, id="icons"),
    pytest.param(("frames", "hero", "walk"), id="frames"),
    pytest.param(("hero-walk", "hero", "walk"), marks=pytest.mark.slow, id="hero-walk"),
]


class Made:
    """A set that was made."""

    def __init__(self, folder: Path, sheet: str, pictures: str) -> None:
        self.sheet = sheet
        told = json.loads((folder / "export" / "export.json").read_text("utf-8"))
        # where the canvas's point is
        self.pivot = told["align"]["pivot"]
        found = sorted((folder / "export" / "sheet").iterdir())
        self.files = {file.name: file.read_bytes() for file in found}
        self.pictures = {
            # a frame 1.png in the folder walk is walk_1
            f"{pictures}_{file.stem}" if file.stem.isdecimal() else file.stem: np.asarray(
                Image.open(file).convert("RGBA")
            )
            for file in sorted((folder / "export" / pictures).glob("*.png"))
        }

    def check(self, name: str, drawn: np.ndarray) -> None:
        """One picture, pixel for pixel, with its ground at POINT."""
        picture = self.pictures[name]
        wanted = np.zeros((SIZE[1], SIZE[0], 4), np.uint8)
        x, y = POINT[0] - self.pivot[0], POINT[1] - self.pivot[1]
        wanted[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
        np.testing.assert_array_equal(drawn, wanted, name)


@pytest.fixture(scope="module", params=SETS)
def made(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """What `spriteworks batch run` makes of a shipped manifest on an engine of its own."""
    manifest, sheet, pictures = request.param
    out = tmp_path_factory.mktemp("set") / "out"
    path = REPOSITORY / "workflows" / "batches" / f"{manifest}.yaml"
    command = [sys.executable, "-m", "orchestrator", "batch", "run", str(path), "--out", str(out)]
    done = subprocess.run(
        [*command, "--engines", "1"], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )
    assert done.returncode == 0, done.stderr
    return Made(out, sheet, pictures)


@pytest.mark.parametrize("version", ["phaser", "phaser390"])
def test_phaser_draws_each_on_the_ground(
    stage: Any, made: Made, decoded: Decode, version: str
) -> None:
    stage.put(made.files)
    names = list(made.pictures)
    asked = {"version": version, "name": made.sheet, "frames": names, "size": SIZE, "point": POINT}
    for name, picture in zip(names, stage.ask("phaser.html", "draw", asked), strict=True):
        made.check(name, decoded(picture))


def test_godot_draws_each_on_the_ground(stage: Any, made: Made, decoded: Decode) -> None:
    told, errors = shown(stage, made.files, made.sheet)
    assert errors == []
    frames = [one for one in told if "frame" in one]
    assert sorted(one["frame"] for one in frames) == sorted(made.pictures)
    for one in frames:
        made.check(one["frame"], decoded(one))


def test_godot_plays_the_walk_by_itself(stage: Any, made: Made) -> None:
    """The AnimatedSprite2D goes through the frames in their order, each for its time."""
    if made.sheet != "hero":
        pytest.skip("icons are no animation")
    told, errors = shown(stage, made.files, made.sheet)
    count = len(made.pictures)
    assert errors == []
    assert told[0] == {"first": "walk", "playing": True, "played": [*range(1, count), 0]}
    walk = [one for one in told[1:] if one["animation"] == "walk"]
    assert [one["frame"] for one in walk] == list(made.pictures)
    assert {one["loop"] for one in walk} == {True}
    fps = {8: 10, 4: 8}[count]  # as the manifests say
    assert [one["duration"] for one in walk] == pytest.approx([1000 / fps] * count)


def test_a_picture_that_stands_elsewhere_is_seen(stage: Any, made: Made, decoded: Decode) -> None:
    first, name = next(iter(made.pictures)), f"{made.sheet}.json"
    content = json.loads(made.files[name])
    content["frames"][first]["spriteSourceSize"]["y"] -= 1
    stage.put({**made.files, name: json.dumps(content).encode()})
    asked = {"version": "phaser", "name": made.sheet, "frames": [first]}
    (drawn,) = stage.ask("phaser.html", "draw", {**asked, "size": SIZE, "point": POINT})
    with pytest.raises(AssertionError):
        made.check(first, decoded(drawn))
