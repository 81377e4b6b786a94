"""Which server is used, and what a ComfyUI that we start is told."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from orchestrator.errors import BadValue, UsageError
from orchestrator.local import launch, pack
from orchestrator.local.serving import Choice, choose

ENVIRONMENT = {"SPRITEWORKS_SERVER": "http://there:1", "COMFYUI_PATH": "/opt/ComfyUI"}


def test_an_option_beats_the_environment() -> None:
    assert choose(Choice(urls=("here:2",)), ENVIRONMENT).urls == ("http://here:2",)
    mine = Choice(comfyui=Path("mine"))
    assert choose(mine, ENVIRONMENT) == mine
    assert choose(Choice(engines=1), ENVIRONMENT).urls == ()


def test_a_server_of_the_environment_beats_a_comfyui_of_it() -> None:
    choice = choose(Choice(), ENVIRONMENT)
    assert (choice.urls, choice.comfyui) == (("http://there:1",), None)
    only = choose(Choice(), {"COMFYUI_PATH": "/opt/ComfyUI"})
    assert (only.urls, only.comfyui) == ((), Path("/opt/ComfyUI"))


def test_nothing_given_means_the_engine() -> None:
    assert choose(Choice(), {}) == Choice()
    assert [name for name, _ in Choice().own()] == ["engine-1"]


def test_two_servers_are_one_too_many() -> None:
    with pytest.raises(UsageError, match="give one of them"):
        Choice(urls=("here:1",), comfyui=Path("mine")).one()
    with pytest.raises(UsageError, match="takes one server"):
        Choice(engines=2).one()


def test_what_can_never_start_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="is no ComfyUI folder"):
        Choice(comfyui=tmp_path, urls=("here:1",)).startable()
    (tmp_path / "comfy").mkdir()
    (tmp_path / "main.py").touch()
    assert Choice(comfyui=tmp_path).startable().comfyui == tmp_path
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="needs torch"):
        Choice().startable()
    assert Choice(urls=("here:1",)).startable().urls == ("http://here:1",)
    assert Choice(nothing=True).startable().nothing


@pytest.mark.parametrize("url", ["http://bad url", "http://bad\x7f", "a b:8188", "http://x:y"])
def test_what_is_no_address_is_no_server(url: str) -> None:
    with pytest.raises(BadValue, match="is no server address"):
        Choice(urls=(url,))


def test_models_are_for_servers_started_here(tmp_path: Path) -> None:
    assert Choice(models=tmp_path).models == tmp_path
    with pytest.raises(UsageError, match="started here"):
        Choice(urls=("here:1",), models=tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        Choice(models=tmp_path / "none")


@pytest.mark.parametrize("tail", [".venv/bin/python", "venv/bin/python", "venv/Scripts/python.exe"])
def test_comfyui_runs_with_its_own_python(tmp_path: Path, tail: str) -> None:
    assert launch.python_of(tmp_path) == sys.executable
    (tmp_path / tail).parent.mkdir(parents=True)
    (tmp_path / tail).touch()
    assert launch.python_of(tmp_path) == str(tmp_path / tail)


def comfyui_folder(path: Path) -> Path:
    (path / "custom_nodes").mkdir(parents=True)
    return path


def test_the_pack_is_not_added_twice(tmp_path: Path) -> None:
    folder = comfyui_folder(tmp_path / "ComfyUI")
    assert not pack.has_pack(folder)
    nodes = folder / "custom_nodes" / "Spriteworks.disabled" / "comfy_nodes"
    nodes.mkdir(parents=True)
    (nodes / "extension.py").touch()
    assert not pack.has_pack(folder)
    nodes.parent.rename(folder / "custom_nodes" / "Spriteworks")
    assert pack.has_pack(folder)


def load(package: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("shim_under_test", package / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_shim_loads_the_pack_from_a_path_with_spaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = tmp_path / "my 'own' packs" / "comfy_nodes"
    nodes.mkdir(parents=True)
    text = "from . import copies\nfrom .deep import comfy_entrypoint\n"
    (nodes / "__init__.py").write_text(text, encoding="utf-8")
    shutil.copy(pack.pack_folder() / "copies.py", nodes)
    (nodes / "deep.py").write_text("def comfy_entrypoint(): return 'nodes'\n", encoding="utf-8")
    monkeypatch.setattr(pack, "pack_folder", lambda: nodes)
    monkeypatch.delitem(sys.modules, "spriteworks_comfy_nodes", raising=False)
    work = tmp_path / "work"
    (work / "custom_nodes").mkdir(parents=True)
    paths = launch.write_extra_paths(comfyui_folder(tmp_path / "ComfyUI"), work, tmp_path / "m")
    section = json.loads(paths.read_text(encoding="utf-8"))["spriteworks"]
    assert section["custom_nodes"] == str(work / "custom_nodes")
    assert section["checkpoints"] == str(tmp_path / "m" / "checkpoints")
    (package,) = (work / "custom_nodes").iterdir()
    module = load(package)
    assert module.comfy_entrypoint() == "nodes"
    assert Path(module.WEB_DIRECTORY) == nodes / "web"
    for name in [name for name in sys.modules if name.startswith("spriteworks_comfy_nodes")]:
        monkeypatch.delitem(sys.modules, name)


def test_the_pack_lies_where_it_was_installed() -> None:
    assert (pack.pack_folder() / "extension.py").is_file()
