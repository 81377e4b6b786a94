"""Tiled opens the tileset: its tiles, names and animations, and draws a map of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comfy_nodes.formats.sheets import write
from comfy_nodes.ops.sheet import Sheet, common_canvas
from sample_sheet import animations, frames, on_ground

# without a screen
ENVIRONMENT = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}


@pytest.fixture(scope="module")
def tiled() -> str:
    """The program, or a skip."""
    found = shutil.which("tiled")
    if found is None or shutil.which("tmxrasterizer") is None:
        pytest.skip("no Tiled: install tiled and tmxrasterizer (Debian: tiled)")
    return found


def run(*command: object) -> None:
    done = subprocess.run(
        list(map(str, command)), env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def put(folder: Path, sheet: Sheet) -> Path:
    for name, content in write(sheet, "hero", ["tiled"]).items():
        (folder / name).write_bytes(content)
    return folder / "hero.tsx"


def exported(tiled: str, file: Path) -> Any:
    target = file.with_suffix(".json")
    run(tiled, "--export-tileset", "json", file, target)
    return json.loads(target.read_text("utf-8"))


def check(tileset: Any) -> None:
    canvas = common_canvas(frames())
    assert [tileset["tilewidth"], tileset["tileheight"]] == list(canvas.size)
    assert (tileset["tilecount"], tileset["spacing"], tileset["margin"]) == (9, 4, 1)
    names = [tile["properties"][0]["value"] for tile in tileset["tiles"]]
    assert names == [frame.name for frame in frames()]
    durations = {frame.name: frame.duration for frame in frames()}
    for animation in animations():
        tile = tileset["tiles"][names.index(animation.played[0])]
        assert [(names[one["tileid"]], one["duration"]) for one in tile["animation"]] == [
            (name, durations[name]) for name in animation.played
        ]


def drawn(folder: Path) -> np.ndarray:
    """A map with each tile once, in one row."""
    width, height = common_canvas(frames()).size
    tiles = ",".join(str(index + 1) for index in range(len(frames())))
    (folder / "map.tmx").write_text(
        f'<map version="1.8" orientation="orthogonal" width="8" height="1" tilewidth="{width}" '
        f'tileheight="{height}"><tileset firstgid="1" source="hero.tsx"/><layer id="1" name="a" '
        f'width="8" height="1"><data encoding="csv">{tiles}</data></layer></map>',
        encoding="utf-8",
    )
    run("tmxrasterizer", folder / "map.tmx", folder / "map.png")
    return np.asarray(Image.open(folder / "map.png").convert("RGBA"))


def check_drawn(pixels: np.ndarray) -> None:
    canvas = common_canvas(frames())
    point = int(canvas.pivot[0]), int(canvas.pivot[1])
    for index, frame in enumerate(frames()):
        tile = pixels[:, index * canvas.size[0] : (index + 1) * canvas.size[0]]
        np.testing.assert_array_equal(tile, on_ground(frame, canvas.size, point), frame.name)


def test_tiled_finds_what_was_put_in(tiled: str, tmp_path: Path, sample: Sheet) -> None:
    check(exported(tiled, put(tmp_path, sample)))
    check_drawn(drawn(tmp_path))


def test_planted_faults_are_seen(tiled: str, tmp_path: Path, sample: Sheet) -> None:
    file = put(tmp_path, sample)
    right = file.read_text("utf-8")
    file.write_text(right.replace('duration="150"', 'duration="151"'), encoding="utf-8")
    with pytest.raises(AssertionError):
        check(exported(tiled, file))
    file.write_text(right.replace('margin="1"', 'margin="0"'), encoding="utf-8")
    with pytest.raises(AssertionError):
        check_drawn(drawn(tmp_path))
