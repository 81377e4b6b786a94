"""The nodes Sprite Sheet and Save Sheet on the engine's host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from comfy_nodes import folders
from comfy_nodes.errors import BadInput, SaveFailed
from comfy_nodes.host import SaveTarget
from comfy_nodes.ops.frames import Direction, untrimmed
from comfy_nodes.ops.sheet import Sheet
from comfy_nodes.saving import save_sheet
from orchestrator.engine import host
from sample_sheet import frames

OPTIONS: dict[str, Any] = {
    "animation": "walk",
    "fps": 20.0,
    "direction": "pingpong",
    "loop": True,
    "columns": 0,
    "padding": 2,
    "extrude": 1,
    "power_of_two": False,
    "max_size": 4096,
}


@pytest.fixture(scope="module")
def node() -> Any:
    host.install()
    from comfy_nodes.sheet import SpriteSheet

    return SpriteSheet


class Output:
    """A host that saves in one folder and counts from 7."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def roots(self, kind: str) -> list[Path]:
        return []

    def checkpoint_names(self) -> list[str]:
        return []

    def save_target(self, prefix: str, width: int, height: int) -> SaveTarget:
        return SaveTarget(self.folder, prefix, 7, "sub")

    def save_metadata(self) -> bool:
        return True


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Path]:
    folders.use(Output(tmp_path))
    yield tmp_path
    folders.use(None)


def walk() -> torch.Tensor:
    """The first four frames of the sample, which have one size."""
    pixels = np.stack([frame.picture for frame in frames()[:4]])
    return torch.from_numpy(pixels.astype(np.float32) / 255)


def run(node: Any, image: list[torch.Tensor], **more: Any) -> tuple[Sheet, list[Any], list[Any]]:
    """As a host does for a node that takes lists."""
    given = {name: [value] for name, value in {**OPTIONS, **more}.items()}
    made: tuple[Sheet, list[Any], list[Any]] = node.execute(image=image, **given).result
    return made


def test_a_batch_is_an_animation(node: Any) -> None:
    sheet, images, masks = run(node, [walk()], pivot_x=11, pivot_y=30)
    assert [frame.name for frame in sheet.frames] == ["walk_1", "walk_2", "walk_3", "walk_4"]
    assert sheet.animations[0].direction is Direction.PINGPONG
    for before, after in zip(frames(), sheet.frames, strict=False):
        np.testing.assert_array_equal(untrimmed(after).picture, before.picture)
        assert (after.pivot, after.duration) == ((11.0, 30.0), 50)
    page = sheet.pages[0]
    assert len(images) == len(masks) == 1
    np.testing.assert_array_equal((images[0][0].numpy() * 255).round(), page[..., :3])
    np.testing.assert_array_equal(masks[0][0].numpy(), 1 - page[..., 3] / np.float32(255))


def test_single_pictures_and_sheets_are_joined(node: Any) -> None:
    singles = [walk()[index : index + 1] for index in range(4)]
    first, _, _ = run(node, singles)
    both, _, _ = run(node, [walk()[:2]], animation="idle", sheet=first, columns=3)
    assert [one.name for one in both.animations] == ["walk", "idle"]
    assert len(both.frames) == 6
    assert both.pages[0].shape[:2] == (2 * 36 - 2, 3 * 28 - 2)
    icons, _, _ = run(node, [walk()[:2]], animation="", sheet=first)
    assert [frame.name for frame in icons.frames][4:] == ["sprite_5", "sprite_6"]
    assert len(icons.animations) == 1
    with pytest.raises(BadInput, match="Two frames have the name walk_1"):
        run(node, [walk()], sheet=first)


def test_frames_may_be_turned_and_near_ones_be_one(node: Any, output: Path) -> None:
    pictures = walk()[[0, 1, 1, 3]]
    pictures[2, 15, 10, :3] = pictures[2, 15, 10, :3] * 0.99
    plain, _, _ = run(node, [pictures])
    assert len({(at.x, at.y) for at in plain.placements}) == 4
    sheet, _, _ = run(node, [pictures], rotate=True, near=0.02)
    assert len({(at.x, at.y) for at in sheet.placements}) == 3
    assert sheet.rotate
    with pytest.raises(BadInput, match="godot cannot turn a rotated frame back"):
        save_sheet(sheet, "hero", ["godot"], {})
    with pytest.raises(BadInput, match="A grid has a cell for each frame"):
        run(node, [pictures], columns=2, near=0.02)


def test_a_mask_is_the_alpha(node: Any) -> None:
    opaque = walk()[..., :3]
    mask = 1 - walk()[..., 3]
    sheet, _, _ = run(node, [opaque], mask=mask)
    np.testing.assert_array_equal(
        untrimmed(sheet.frames[0]).picture[..., 3], frames()[0].picture[..., 3]
    )


def test_a_sheet_is_saved_whole_in_a_folder_of_its_own(node: Any, output: Path) -> None:
    sheet, _, _ = run(node, [walk()])
    told = save_sheet(sheet, "hero", ["godot", "phaser"], {"prompt": {"1": {}}})
    where = {"subfolder": "sub/hero_00007_", "type": "output"}
    assert told["images"] == [{"filename": "hero.png", **where}]
    (folder,) = output.iterdir()
    names = {"hero.png", "hero.tres", "hero.tscn", "hero.json", "hero.anims.json"}
    assert sorted(told["sheet_files"], key=lambda one: one["name"]) == [
        {"name": name, **where} for name in sorted(names - {"hero.png"})
    ]
    assert {file.name for file in folder.iterdir()} == names
    page = Image.open(folder / "hero.png")
    assert json.loads(page.info["prompt"]) == {"1": {}}
    np.testing.assert_array_equal(np.asarray(page), sheet.pages[0])


def test_what_cannot_be_saved_leaves_nothing(
    node: Any, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheet, _, _ = run(node, [walk()])
    with pytest.raises(BadInput, match="unreal is no format"):
        save_sheet(sheet, "hero", ["unreal"], {})

    def full(self: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SaveFailed, match="hero_00007_ could not be written"):
        save_sheet(sheet, "hero", ["godot"], {})
    assert list(output.iterdir()) == []
