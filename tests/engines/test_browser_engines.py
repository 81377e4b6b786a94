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


@pytest.mark.parametrize("largest", [4096, 60])
def test_pixi_turns_rotated_frames_back(stage: Any, decoded: Decode, largest: int) -> None:
    """Trimmed, with their edge repeated, and with their ground points."""
    rotated = packed(frames(), animations(), rotate=True, extrude=2, largest=largest)
    assert any(at.rotated for at in rotated.placements)
    assert (len(rotated.pages) > 1) == (largest == 60)
    files = write(rotated, "hero", ["pixi"])
    stage.put(files)
    file = "hero-0.json" if len(rotated.pages) > 1 else "hero.json"
    check_drawn(stage.ask("pixi.html", "draw", drawing(file=file)), decoded)


def test_a_frame_that_is_turned_the_other_way_is_seen(stage: Any, decoded: Decode) -> None:
    rotated = packed(frames(), animations(), rotate=True)
    (first, *_) = (at for at in rotated.placements if at.rotated)
    width, height = first.on_page
    part = rotated.pages[0][first.y : first.y + height, first.x : first.x + width]
    part[:] = np.rot90(part, 2).copy()
    stage.put(write(rotated, "hero", ["pixi"]))
    pictures = stage.ask("pixi.html", "draw", drawing())
    with pytest.raises(AssertionError, match=first.frame):
        check_drawn(pictures, decoded)


@pytest.mark.parametrize("version", PHASERS)
def test_phaser_does_not_turn_rotated_frames_back(
    stage: Any, decoded: Decode, version: str
) -> None:
    """Why `phaser` refuses them; where this fails, Phaser has learnt it."""
    rotated = packed(frames(), animations(), rotate=True)
    stage.put(write(rotated, "hero", ["texturepacker-array"]))
    pictures = stage.ask("phaser.html", "draw", drawing(version=version, kind="array"))
    upright = [not at.rotated for at in rotated.placements]
    for index, right in enumerate(upright):
        drawn = decoded(pictures[index])
        assert np.array_equal(drawn, on_ground(frames()[index], SIZE, POINT)) == right


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
    check_idle(stage, write(sample, "hero", ["png", "aseprite"]), version)


def check_idle(stage: Any, files: Files, version: str) -> None:
    """The frames of the tag `idle`, each for its duration."""
    stage.put(files)
    asked = {"version": version, "kind": "aseprite", "name": "hero", "total": 1200}
    shown = stage.ask("phaser.html", "play", {**asked, "animation": "idle"})
    assert [frame for frame, _ in shown[:2]] == ["4", "5"]
    assert [round(time, -1) for _, time in shown[:2]] == [200, 300]


Change = Callable[[dict[str, Any]], Any]


def with_fault(files: Files, file: str, frame: str, change: Change) -> Files:
    """The files with a fault in one frame of one file, whichever kind of JSON that is."""
    content = json.loads(files[file])
    listed = (
        [content["frames"]] if "frames" in content else [t["frames"] for t in content["textures"]]
    )
    (found,) = (
        one
        for frames in listed
        for name, one in (
            frames.items() if isinstance(frames, dict) else ((f["filename"], f) for f in frames)
        )
        if name == frame
    )
    change(found)
    return {**files, file: json.dumps(content).encode()}


def moved(files: Files, change: Change) -> Files:
    """The files with a fault in one frame of hero.json."""
    return with_fault(files, "hero.json", "walk_2", change)


FAULTS: dict[str, Change] = {
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


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("version", PHASERS)
def test_a_fault_in_the_array_is_seen(
    stage: Any, sample: Sheet, decoded: Decode, version: str, fault: str
) -> None:
    files = write(sample, "hero", ["texturepacker-array"])
    stage.put(with_fault(files, "hero.array.json", "walk_2", FAULTS[fault]))
    pictures = stage.ask("phaser.html", "draw", drawing(version=version, kind="array"))
    with pytest.raises(AssertionError, match="walk_2"):
        check_drawn(pictures, decoded)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("page", ["pixi.html", "phaser.html"])
def test_a_fault_on_the_last_of_several_pages_is_seen(
    stage: Any, pages_of_few: Sheet, decoded: Decode, page: str, fault: str
) -> None:
    """In what PixiJS reads page by page, and in Phaser's one file of all pages."""
    last = pages_of_few.placements[-1].frame
    assert pages_of_few.placements[-1].page == len(pages_of_few.pages) - 1
    pixi = page == "pixi.html"
    file = f"hero-{len(pages_of_few.pages) - 1}.json" if pixi else "hero.multiatlas.json"
    files = write(pages_of_few, "hero", ["pixi" if pixi else "phaser"])
    stage.put(with_fault(files, file, last, FAULTS[fault]))
    asked = drawing(file="hero-0.json", version="phaser", kind="multiatlas")
    pictures = stage.ask(page, "draw", asked)
    with pytest.raises(AssertionError, match=last):
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


@pytest.mark.parametrize("fault", ["duration", "tag"])
def test_a_fault_in_the_json_of_aseprite_is_seen(stage: Any, sample: Sheet, fault: str) -> None:
    files = write(sample, "hero", ["png", "aseprite"])
    content = json.loads(files["hero.aseprite.json"])
    if fault == "duration":
        content["frames"]["5"]["duration"] = 100
    else:
        (idle,) = (tag for tag in content["meta"]["frameTags"] if tag["name"] == "idle")
        idle["from"] -= 1
    with pytest.raises(AssertionError):
        check_idle(stage, {**files, "hero.aseprite.json": json.dumps(content).encode()}, "phaser")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_frame_in_the_json_of_aseprite_is_seen(
    stage: Any, sample: Sheet, decoded: Decode, fault: str
) -> None:
    """Its frames are numbered; drawn they are on the ground, and with a fault one is not."""
    files = write(sample, "hero", ["png", "aseprite"])
    numbers = [str(number) for number in range(len(frames()))]
    asked = drawing(version="phaser", kind="aseprite", frames=numbers)
    stage.put(files)
    check_drawn(stage.ask("phaser.html", "draw", asked), decoded)
    stage.put(with_fault(files, "hero.aseprite.json", "1", FAULTS[fault]))
    with pytest.raises(AssertionError, match="walk_2"):
        check_drawn(stage.ask("phaser.html", "draw", asked), decoded)
