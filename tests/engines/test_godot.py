"""Godot 4.6's web engine opens the .tres and the .tscn: the same pixels, ground and times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from comfy_nodes.formats.sheets import write
from comfy_nodes.ops.sheet import Sheet, packed
from godot_game import shown
from sample_sheet import animations, frames, on_ground

SIZE, POINT = (64, 64), (30, 50)
Decode = Callable[[dict[str, Any]], np.ndarray]


def check(told: list[dict[str, Any]], decoded: Decode) -> None:
    """Every animation in order, each frame's pixels on the ground and its duration."""
    found = {frame.name: frame for frame in frames()}
    wanted = [(one, frame) for one in sorted_animations() for frame in one.played]
    assert len(told) == len(wanted)
    for said, (animation, name) in zip(told, wanted, strict=True):
        assert (said["animation"], said["frame"]) == (animation.name, name)
        assert said["loop"] == animation.loop
        assert said["duration"] == pytest.approx(found[name].duration)
        np.testing.assert_array_equal(decoded(said), on_ground(found[name], SIZE, POINT), name)


def sorted_animations() -> list[Any]:
    """As Godot names them."""
    return sorted(animations(), key=lambda one: one.name)


@pytest.mark.parametrize("largest", [4096, 70])
def test_godot_shows_each_frame_on_the_ground(stage: Any, decoded: Decode, largest: int) -> None:
    sheet = packed(frames(), animations(), largest=largest)
    assert (len(sheet.pages) > 1) == (largest == 70)
    told, errors = shown(stage, write(sheet, "hero", ["godot"]))
    assert errors == []
    check_scene(told, decoded)


def check_scene(told: list[dict[str, Any]], decoded: Decode) -> None:
    """What the scene plays by itself, frame after frame, and every animation."""
    (walk,) = [one for one in animations() if one.name == "walk"]
    count = len(walk.played)
    assert told[0] == {"first": "walk", "playing": True, "played": [*range(1, count), 0]}
    check(told[1:], decoded)


FAULTS = {
    "region": (b"region = Rect2(1, ", b"region = Rect2(2, "),
    "margin": (b"margin = Rect2(1", b"margin = Rect2(0"),
    "speed": (b'"speed": 20.0', b'"speed": 10.0'),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_seen(stage: Any, sample: Sheet, decoded: Decode, fault: str) -> None:
    files = write(sample, "hero", ["godot"])
    before, after = FAULTS[fault]
    assert before in files["hero.tres"]
    files["hero.tres"] = files["hero.tres"].replace(before, after)
    told, _ = shown(stage, files)
    with pytest.raises(AssertionError):
        check(told[1:], decoded)


SCENE_FAULTS = {
    "offset": (b"offset = Vector2(-", b"offset = Vector2(-1"),
    "centered": (b"centered = false", b"centered = true"),
    "animation": (b'"walk"', b'"idle"'),
    "autoplay": (b'autoplay = "walk"\n', b""),
}


@pytest.mark.parametrize("fault", SCENE_FAULTS)
def test_a_planted_fault_in_the_scene_is_seen(
    stage: Any, sample: Sheet, decoded: Decode, fault: str
) -> None:
    files = write(sample, "hero", ["godot"])
    before, after = SCENE_FAULTS[fault]
    assert before in files["hero.tscn"]
    files["hero.tscn"] = files["hero.tscn"].replace(before, after)
    told, _ = shown(stage, files)
    with pytest.raises(AssertionError):
        check_scene(told, decoded)


def test_a_broken_file_is_told_by_the_engine(stage: Any, sample: Sheet) -> None:
    files = write(sample, "hero", ["godot"])
    files["hero.tres"] = files["hero.tres"].replace(b"Rect2(", b"Rect2[", 1)
    told, errors = shown(stage, files)
    assert told == []
    assert any("hero.tres" in error for error in errors)
