"""PixiJS and Phaser open what was exported: the same pixels on the same ground, in time."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from comfy_nodes.formats.sheets import write
from comfy_nodes.ops.sheet import Sheet, packed
from sample_sheet import animations, frames, on_ground

SIZE, POINT = (64, 64), (30, 50)
PHASERS = ("phaser", "phaser390")
Files = dict[str, bytes]
Decode = Callable[[dict[str, Any]], np.ndarray]


def check_drawn(pictures: Sequence[dict[str, Any]], decoded: Decode) -> None:
    for frame, picture in zip(frames(), pictures, strict=True):
        np.testing.assert_array_equal(decoded(picture), on_ground(frame, SIZE, POINT), frame.name)


def drawing(**more: Any) -> dict[str, Any]:
    return {
        "size": SIZE,
        "point": POINT,
        "name": "hero",
        "file": "hero.json",
        "frames": [frame.name for frame in frames()],
        **more,
    }


def check_played(shown: list[list[Any]], name: str) -> None:
    """A round and more: the frames in order, each for its duration."""
    played = next(one for one in animations() if one.name == name).played
    durations = {frame.name: frame.duration for frame in frames()}
    # where a frame ends on a step, engines differ by one step; the last is cut off by the end
    assert len(shown) > len(played)
    for index, (frame, time) in enumerate(shown[:-1]):
        wanted = played[index % len(played)]
        assert frame == wanted
        assert abs(time - durations[wanted]) <= 5


@pytest.fixture
def pages_of_few(sample: Sheet) -> Sheet:
    """The same frames on several pages."""
    sheet = packed(frames(), animations(), largest=70)
    assert len(sheet.pages) > 1
    return sheet


def test_pixi_draws_each_frame_on_the_ground(stage: Any, sample: Sheet, decoded: Decode) -> None:
    stage.put(write(sample, "hero", ["pixi"]))
    check_drawn(stage.ask("pixi.html", "draw", drawing()), decoded)


def test_pixi_finds_all_pages(stage: Any, pages_of_few: Sheet, decoded: Decode) -> None:
    stage.put(write(pages_of_few, "hero", ["pixi"]))
    check_drawn(stage.ask("pixi.html", "draw", drawing(file="hero-0.json")), decoded)


def test_pixi_plays_there_and_back(stage: Any, sample: Sheet) -> None:
    stage.put(write(sample, "hero", ["pixi"]))
    asked = {"file": "hero.json", "animation": "walk", "total": 1500}
    check_played(stage.ask("pixi.html", "play", asked), "walk")


@pytest.mark.parametrize("version", PHASERS)
@pytest.mark.parametrize("kind", ["", "array"])
def test_phaser_draws_each_frame_on_the_ground(
    stage: Any, sample: Sheet, decoded: Decode, version: str, kind: str
) -> None:
    stage.put(write(sample, "hero", ["phaser", "texturepacker-array"]))
    asked = drawing(version=version, kind=kind)
    check_drawn(stage.ask("phaser.html", "draw", asked), decoded)


@pytest.mark.parametrize("version", PHASERS)
def test_phaser_finds_all_pages(
    stage: Any, pages_of_few: Sheet, decoded: Decode, version: str
) -> None:
    stage.put(write(pages_of_few, "hero", ["phaser"]))
    asked = drawing(version=version, kind="multiatlas")
    check_drawn(stage.ask("phaser.html", "draw", asked), decoded)


@pytest.mark.parametrize("version", PHASERS)
def test_phaser_plays_there_and_back(stage: Any, sample: Sheet, version: str) -> None:
    stage.put(write(sample, "hero", ["phaser"]))
    asked = {"version": version, "name": "hero", "animation": "walk", "total": 1500}
    check_played(stage.ask("phaser.html", "play", asked), "walk")


@pytest.mark.parametrize("version", PHASERS)
def test_phaser_makes_animations_of_the_json_of_aseprite(
    stage: Any, sample: Sheet, version: str
) -> None:
    stage.put({**write(sample, "hero", ["png", "aseprite"])})
    asked = {"version": version, "kind": "aseprite", "name": "hero", "total": 1200}
    shown = stage.ask("phaser.html", "play", {**asked, "animation": "idle"})
    assert [frame for frame, _ in shown[:2]] == ["4", "5"]
    assert [round(time, -1) for _, time in shown[:2]] == [200, 300]


def moved(files: Files, change: Callable[[dict[str, Any]], None]) -> Files:
    """The files with a fault in one frame of hero.json."""
    content = json.loads(files["hero.json"])
    change(content["frames"]["walk_2"])
    return {**files, "hero.json": json.dumps(content).encode()}


FAULTS: dict[str, Callable[[dict[str, Any]], None]] = {
    "pivot": lambda frame: (frame["pivot"].update(x=0.5), frame["anchor"].update(x=0.5)),
    "trim": lambda frame: frame["spriteSourceSize"].update(y=0),
    "place": lambda frame: frame["frame"].update(x=frame["frame"]["x"] + 1),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("page", ["pixi.html", "phaser.html"])
def test_a_planted_fault_is_seen(
    stage: Any, sample: Sheet, decoded: Decode, page: str, fault: str
) -> None:
    stage.put(moved(write(sample, "hero", ["phaser"]), FAULTS[fault]))
    pictures = stage.ask(page, "draw", drawing(version="phaser"))
    with pytest.raises(AssertionError, match="walk_2"):
        check_drawn(pictures, decoded)


def test_a_wrong_duration_is_seen(stage: Any, sample: Sheet) -> None:
    files = moved(write(sample, "hero", ["pixi"]), lambda frame: frame.update(duration=100))
    stage.put(files)
    asked = {"file": "hero.json", "animation": "walk", "total": 1500}
    with pytest.raises(AssertionError):
        check_played(stage.ask("pixi.html", "play", asked), "walk")


@pytest.mark.parametrize("fault", ["duration", "order"])
def test_a_fault_in_the_animations_is_seen(stage: Any, sample: Sheet, fault: str) -> None:
    files = write(sample, "hero", ["phaser"])
    content = json.loads(files["hero.anims.json"])
    shown = content["anims"][0]["frames"]
    if fault == "duration":
        shown[1]["duration"] = 100
    else:
        shown.pop()
    stage.put({**files, "hero.anims.json": json.dumps(content).encode()})
    asked = {"version": "phaser", "name": "hero", "animation": "walk", "total": 1500}
    with pytest.raises(AssertionError):
        check_played(stage.ask("phaser.html", "play", asked), "walk")
