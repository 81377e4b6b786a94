from collections.abc import Iterator
from pathlib import Path

import pytest

from comfy_nodes import folders
from comfy_nodes.errors import ModelNotFound
from comfy_nodes.host import SaveTarget


class Plain:
    """A host with one models folder, laid out as ComfyUI's."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def roots(self, kind: str) -> list[Path]:
        return [self.root / kind]

    def checkpoint_names(self) -> list[str]:
        root = self.root / "checkpoints"
        return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.*"))

    def save_target(self, prefix: str, width: int, height: int) -> SaveTarget:
        raise NotImplementedError

    def save_metadata(self) -> bool:
        return True


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(folders, "MODEL_FILES", tmp_path / "bundled")
    folders.use(Plain(tmp_path))
    yield tmp_path
    folders.use(None)


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_checkpoints_are_safetensors_first_and_then_pickles(models: Path) -> None:
    path = touch(models / "checkpoints" / "xl" / "a.safetensors")
    pickled = touch(models / "checkpoints" / "b.ckpt")
    touch(models / "checkpoints" / "notes.txt")
    assert folders.checkpoint_names() == ["xl/a.safetensors", "b.ckpt"]
    assert folders.checkpoint_path("xl/a.safetensors") == path
    assert folders.checkpoint_path("b.ckpt") == pickled
    with pytest.raises(ModelNotFound, match=r"'c\.ckpt'.*xl/a\.safetensors"):
        folders.checkpoint_path("c.ckpt")


def test_names_from_outside_never_leave_the_folder(models: Path) -> None:
    touch(models / "secret.safetensors")
    with pytest.raises(ModelNotFound):
        folders.checkpoint_path("../secret.safetensors")
    touch(models / "model_index.json")
    with pytest.raises(ModelNotFound):
        folders.diffusers_path("..")


def test_diffusers_folders_are_found_at_any_depth_and_the_users_come_first(models: Path) -> None:
    own = touch(models / "diffusers" / "starter" / "model_index.json").parent
    deep = touch(models / "diffusers" / "owner" / "name" / "model_index.json").parent
    touch(models / "bundled" / "starter" / "model_index.json")
    bundled = touch(models / "bundled" / "other" / "model_index.json").parent
    touch(own / "unet" / "model_index.json")  # a part is no model
    assert folders.diffusers_names() == ["other", "owner/name", "starter"]
    assert folders.diffusers_path("starter") == own
    assert folders.diffusers_path("owner/name") == deep
    assert folders.diffusers_path("other") == bundled


def test_a_missing_model_names_those_there_are(models: Path) -> None:
    with pytest.raises(FileNotFoundError, match="Those there are: none"):
        folders.diffusers_path("nothing")


def test_links_that_lead_back_up_are_not_followed_for_ever(models: Path) -> None:
    model = touch(models / "diffusers" / "a" / "model" / "model_index.json").parent
    (models / "diffusers" / "b").mkdir()
    try:
        (models / "diffusers" / "a" / "up").symlink_to(models / "diffusers", True)
        (models / "diffusers" / "a" / "across").symlink_to(models / "diffusers" / "b", True)
        (models / "diffusers" / "b" / "across").symlink_to(models / "diffusers" / "a", True)
        (models / "diffusers" / "alias").symlink_to(model, True)
    except OSError:
        pytest.skip("this system lets nobody make links")
    names = folders.diffusers_names()
    # a model may have two names, and each is kept
    assert {"a/model", "alias"} <= set(names)
    assert len(names) < 10
