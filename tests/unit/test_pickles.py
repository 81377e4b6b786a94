"""Pickled checkpoints: weights come out, code never runs, and what is wrong is said."""

from __future__ import annotations

import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from comfy_nodes.errors import ModelUnreadable, PackError, UnsupportedModel
from comfy_nodes.weights.files import check_file
from comfy_nodes.weights.kinds import kind_of
from comfy_nodes.weights.pickles import is_pickle, read_pickle

WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.float16)}


def same(found: dict[str, torch.Tensor]) -> bool:
    return found.keys() == WEIGHTS.keys() and all(
        torch.equal(found[name], WEIGHTS[name]) and found[name].dtype == WEIGHTS[name].dtype
        for name in WEIGHTS
    )


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrap", [lambda weights: weights, lambda weights: {"state_dict": weights}])
def test_the_weights_come_out_of_new_and_old_files(tmp_path: Path, zipped: bool, wrap: Any) -> None:
    path = tmp_path / "a.ckpt"
    torch.save(wrap(WEIGHTS), path, _use_new_zipfile_serialization=zipped)
    assert same(read_pickle(path))


def test_the_training_callback_of_the_published_files_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "pytorch_lightning.callbacks.model_checkpoint"
    callback = type("ModelCheckpoint", (), {"__module__": name})
    module = types.ModuleType(name)
    module.__dict__["ModelCheckpoint"] = callback
    one = callback()
    one.__dict__["best"] = torch.ones(1)
    path = tmp_path / "a.ckpt"
    with monkeypatch.context() as patch:
        for part in ("pytorch_lightning", "pytorch_lightning.callbacks"):
            patch.setitem(sys.modules, part, types.ModuleType(part))
        patch.setitem(sys.modules, name, module)
        torch.save({"state_dict": WEIGHTS, "callbacks": {callback: {"a": 1}}, "one": one}, path)
    before = torch.serialization.get_safe_globals()
    assert same(read_pickle(path))
    assert set(torch.serialization.get_safe_globals()) == set(before)


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.made),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", ["beside weights", "old file", "bare"])
def test_code_is_refused_and_does_not_run(tmp_path: Path, kind: str) -> None:
    made, path = tmp_path / "made", tmp_path / "evil.ckpt"
    content = {"state_dict": WEIGHTS, "more": Evil(made)}
    if kind == "bare":
        path.write_bytes(pickle.dumps(Evil(made)))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind != "old file")
    with pytest.raises(UnsupportedModel, match=r"evil\.ckpt holds .* than weights") as caught:
        read_pickle(path)
    assert not made.exists()
    assert "weights_only" not in str(caught.value)  # torch's own advice would open the door


def test_a_cut_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "cut.ckpt"
    for zipped in (True, False):
        torch.save(WEIGHTS, path, _use_new_zipfile_serialization=zipped)
        path.write_bytes(path.read_bytes()[:-20])
        # which of the two it is depends on torch's version
        with pytest.raises((ModelUnreadable, UnsupportedModel), match=r"cut\.ckpt .* is cut short"):
            read_pickle(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs"),
        (b"", "empty"),
        (b"GGUF\x03", "GGUF"),
    ],
)
def test_what_came_instead_of_a_model_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    pickled, safe = tmp_path / "a.ckpt", tmp_path / "a.safetensors"
    for path, reader in ((pickled, read_pickle), (safe, check_file)):
        path.write_bytes(content)
        with pytest.raises(ModelUnreadable, match=said) as caught:
            reader(path)
        assert path.name in str(caught.value)


def test_the_one_under_the_others_name(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    save_file(WEIGHTS, path)
    assert kind_of(path) == "a safetensors file"
    with pytest.raises(ModelUnreadable, match=r"rename it to \.safetensors"):
        read_pickle(path)
    path = tmp_path / "b.safetensors"
    for zipped in (True, False):
        torch.save(WEIGHTS, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(ModelUnreadable, match=r"b\.safetensors is a PyTorch pickle"):
            check_file(path)


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {"state_dict": {}}, torch.ones(2)])
def test_a_pickle_without_weights(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "a.ckpt"
    torch.save(content, path)
    with pytest.raises(PackError, match="holds no weights"):
        read_pickle(path)


def test_which_names_are_pickles() -> None:
    assert is_pickle(Path("a.CKPT"))
    assert not is_pickle(Path("a.safetensors"))
