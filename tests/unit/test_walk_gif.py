"""scripts/build_walk_gif.py: frames of a folder or of a row, enlarged by whole numbers."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence


@pytest.fixture(scope="module")
def script(repository: Path) -> dict[str, Any]:
    return runpy.run_path(str(repository / "scripts" / "build_walk_gif.py"))


def frames(count: int = 4) -> list[np.ndarray]:
    """A dot that walks, 12x10, on nothing."""
    made = []
    for step in range(count):
        frame = np.zeros((10, 12, 4), np.uint8)
        frame[2 + step, 3 : 5 + step] = (200, 40, 30 + step, 255)
        made.append(frame)
    return made


def shown(file: Path) -> tuple[list[np.ndarray], list[int]]:
    """Whole frames as a viewer shows them, and their durations in ms."""
    with Image.open(file) as picture:
        every = list(ImageSequence.Iterator(picture))
        assert picture.info.get("loop") == 0
        return (
            [np.asarray(one.convert("RGBA")) for one in ImageSequence.Iterator(picture)],
            [one.info["duration"] for one in every],
        )


@pytest.mark.parametrize("form", ["folder", "row"])
def test_each_pixel_is_a_square_and_each_frame_is_there(
    script: dict[str, Any], tmp_path: Path, form: str
) -> None:
    source, more = tmp_path / "walk", []
    if form == "folder":
        source.mkdir()
        for number, frame in enumerate(frames(), 1):
            Image.fromarray(frame).save(source / f"{number}.png")
    else:
        source, more = tmp_path / "walk.png", ["--frames", "4"]
        Image.fromarray(np.concatenate(frames(), axis=1)).save(source)
    out = tmp_path / "out" / "walk.gif"
    script["main"]([str(source), "--scale", "3", "--fps", "10", "--out", str(out), *more])
    pictures, durations = shown(out)
    assert durations == [100] * 4
    for picture, frame in zip(pictures, frames(), strict=True):
        wanted = np.kron(frame, np.ones((3, 3, 1), np.uint8))
        np.testing.assert_array_equal(picture[..., 3], wanted[..., 3])
        np.testing.assert_array_equal(picture[wanted[..., 3] > 0], wanted[wanted[..., 3] > 0])


def test_what_cannot_be_is_one_sentence(script: dict[str, Any], tmp_path: Path) -> None:
    Image.fromarray(frames()[0]).save(tmp_path / "one.png")
    for given in (["one.png", "--frames", "5"], ["none.png"]):
        with pytest.raises(SystemExit, match=r"^error: "):
            script["main"]([str(tmp_path / given[0]), *given[1:], "--out", str(tmp_path / "x.gif")])
    with pytest.raises(SystemExit):
        script["main"]([str(tmp_path / "one.png"), "--scale", "0"])
    assert not (tmp_path / "x.gif").exists()
