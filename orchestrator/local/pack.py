"""Where our node pack and its workflows lie, and the package by which a ComfyUI loads them."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import OutputError, ServerStartFailed

# The package in custom_nodes that loads the pack from where it lies. ComfyUI imports every package
# of a custom_nodes folder, so the pack's own parent folder cannot be named there.
SHIM_NAME = "spriteworks"
_FIRST_LINE = '"""Loads Spriteworks\' nodes from where they lie; written by Spriteworks."""'
_SHIM = (
    _FIRST_LINE
    + """

import importlib
import importlib.util
import sys

_FOLDER = {folder}
_NAME = "spriteworks_comfy_nodes"
_spec = importlib.util.spec_from_file_location(
    _NAME, _FOLDER + "/__init__.py", submodule_search_locations=[_FOLDER]
)
_pack = importlib.util.module_from_spec(_spec)
sys.modules[_NAME] = _pack
_spec.loader.exec_module(_pack)
comfy_entrypoint = _pack.comfy_entrypoint
WEB_DIRECTORY = importlib.import_module(_NAME + ".copies").web_directory({name})
"""
)
# What ComfyUI looks for in a pack; the first offers its workflows as templates.
_FOLDERS = ("example_workflows", "subgraphs", "locales")
# What another process may be writing.
_PART = ".part"
_PACKAGE = Path(__file__).resolve().parents[1]
# In a wheel what lies beside the packages lies in this one.
_IN_WHEEL = _PACKAGE / "shipped"


def pack_folder() -> Path:
    """Where comfy_nodes lies, without importing it."""
    spec = importlib.util.find_spec("comfy_nodes")
    if spec is None or spec.origin is None:
        raise ServerStartFailed("the package comfy_nodes is not installed; install spriteworks")
    return Path(spec.origin).parent


def workflows_folder() -> Path:
    """Where the workflows lie that come with Spriteworks."""
    return _IN_WHEEL if _IN_WHEEL.is_dir() else _PACKAGE.parent / "workflows"


def _beside(name: str) -> Path:
    """A folder of the repository's top level."""
    return (_IN_WHEEL if _IN_WHEEL.is_dir() else _PACKAGE.parent) / name


def has_pack(folder: Path) -> bool:
    """Say whether a ComfyUI folder has our pack among its custom nodes."""
    places = (folder / "custom_nodes").glob("*/comfy_nodes/extension.py")
    cloned = any(not place.parts[-3].endswith(".disabled") for place in places)
    return cloned or _is_shim(folder / "custom_nodes" / SHIM_NAME)


def write_package(package: Path) -> None:
    """Write the package that loads the pack, and what ComfyUI reads beside it.

    Templates with their pictures, blueprints, translations. What is the same already is not
    written; each file is whole at every moment, also for other readers. Raises OutputError where
    it cannot be written.
    """
    files = {name: path.read_bytes() for name, path in _files()}
    source = _SHIM.format(folder=repr(pack_folder().as_posix()), name=repr(SHIM_NAME))
    files["__init__.py"] = source.encode("utf-8")
    try:
        for name in _FOLDERS:
            for old in (package / name).rglob("*.*"):
                known = old.relative_to(package).as_posix() in files
                if old.is_file() and old.suffix != _PART and not known:
                    old.unlink(missing_ok=True)
        for name, content in files.items():
            _write(package / name, content)
    except OSError as error:
        raise OutputError(f"the nodes cannot be put into {package}: {error.strerror}") from error


def _files() -> Iterator[tuple[str, Path]]:
    """(name in the package, file) of what is read beside the pack itself."""
    templates, subgraphs, locales = _FOLDERS
    for name, source, patterns in (
        (templates, workflows_folder(), ("*.json", "*.jpg", "inputs/*.*")),
        (subgraphs, _beside(subgraphs), ("*.json",)),
        (locales, _beside(locales), ("*/*.json",)),
    ):
        for pattern in patterns:
            for path in source.glob(pattern):
                yield f"{name}/{path.relative_to(source).as_posix()}", path


def _write(path: Path, content: bytes) -> None:
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}{_PART}")
    part.write_bytes(content)
    part.replace(path)


def add_pack(folder: Path) -> None:
    """Put the pack among the custom nodes of a ComfyUI, with the workflows as its templates."""
    write_package(folder / "custom_nodes" / SHIM_NAME)


def renew_pack(folder: Path) -> None:
    """Point the package that `add_pack` left in a ComfyUI, if it did, to where the pack lies now.

    Spriteworks may have been installed anew since then, elsewhere or in another version.
    """
    package = folder / "custom_nodes" / SHIM_NAME
    if _is_shim(package):
        write_package(package)


def _is_shim(package: Path) -> bool:
    path = package / "__init__.py"
    return path.is_file() and path.read_text(encoding="utf-8").startswith(_FIRST_LINE)
