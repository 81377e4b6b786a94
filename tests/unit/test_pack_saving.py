import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from comfy_nodes import folders
from comfy_nodes.errors import BadInput, SaveFailed
from comfy_nodes.host import SaveTarget
from comfy_nodes.saving import save_sprites


class Output:
    """A host that saves in one folder and counts from 7."""

    def __init__(self, folder: Path, *, metadata: bool = True) -> None:
        self.folder, self.metadata = folder, metadata

    def roots(self, kind: str) -> list[Path]:
        return []

    def checkpoint_names(self) -> list[str]:
        return []

    def save_target(self, prefix: str, width: int, height: int) -> SaveTarget:
        return SaveTarget(self.folder, prefix, 7, "")

    def save_metadata(self) -> bool:
        return self.metadata


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Path]:
    folders.use(Output(tmp_path))
    yield tmp_path
    folders.use(None)


def test_pictures_are_saved_with_their_transparency_and_workflow(output: Path) -> None:
    image = torch.arange(2 * 4 * 4 * 3).reshape(2, 4, 4, 3) / 255.0
    mask = torch.zeros(1, 4, 4)
    mask[0, 0, 0] = 1.0
    texts = {"prompt": {"1": {"class_type": "X"}}, "workflow": {"nodes": []}}
    saved = save_sprites(image, mask, "s_%batch_num%", texts)
    assert saved[1] == {"filename": "s_1_00008_.png", "subfolder": "", "type": "output"}
    for index, entry in enumerate(saved):
        picture = Image.open(output / entry["filename"])
        pixels = np.asarray(picture)
        assert picture.mode == "RGBA"
        assert np.array_equal(pixels[..., :3], image[index].numpy() * 255)
        assert pixels[0, 0, 3] == 0
        assert (pixels[..., 3].ravel()[1:] == 255).all()
        assert json.loads(picture.info["prompt"]) == texts["prompt"]
        assert json.loads(picture.info["workflow"]) == texts["workflow"]


def test_without_metadata_none_is_written(tmp_path: Path) -> None:
    folders.use(Output(tmp_path, metadata=False))
    try:
        (entry,) = save_sprites(torch.zeros(1, 4, 4, 3), None, "s", {"prompt": {}})
    finally:
        folders.use(None)
    assert "prompt" not in Image.open(tmp_path / entry["filename"]).info


def test_a_mask_that_does_not_fit_is_refused(output: Path) -> None:
    with pytest.raises(BadInput, match="one size"):
        save_sprites(torch.zeros(1, 4, 4, 3), torch.zeros(1, 8, 8), "s", {})
    assert list(output.iterdir()) == []


def test_a_failed_write_leaves_nothing_behind(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(self: Image.Image, file: object, *_: object, **__: object) -> None:
        file.write(b"half a picture")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(SaveFailed, match=r"s_00007_\.png .*No space left on device.*make room"):
        save_sprites(torch.zeros(1, 4, 4, 3), None, "s", {})
    assert list(output.iterdir()) == []


def test_a_missing_folder_is_said(output: Path) -> None:
    folders.use(Output(output / "gone"))
    with pytest.raises(SaveFailed, match="could not be written"):
        save_sprites(torch.zeros(1, 4, 4, 3), None, "s", {})
