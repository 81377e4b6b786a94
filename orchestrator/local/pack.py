"""Where our node pack and its workflows lie, and the package by which a ComfyUI loads them."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from ..errors import OutputError, ServerStartFailed

# The package in custom_nodes that loads the pack from where it lies. ComfyUI imports every package
# of a custom_nodes folder, so the pack's own parent folder cannot be named there.
SHIM_NAME = "spriteworks"
_FIRST_LINE = '"""Loads Spriteworks\' nodes from where they lie; written by Spriteworks."""'
_SHIM = (
    _FIRST_LINE
    + """

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
WEB_DIRECTORY = _pack.copies.web_directory({name})
"""
)
# ComfyUI offers the workflows in this folder of a pack as templates, each with its picture.
_TEMPLATES = "example_workflows"
_PACKAGE = Path(__file__).resolve().parents[1]


def pack_folder() -> Path:
    """Where comfy_nodes lies, without importing it."""
    spec = importlib.util.find_spec("comfy_nodes")
    if spec is None or spec.origin is None:
        raise ServerStartFailed("the package comfy_nodes is not installed; install spriteworks")
    return Path(spec.origin).parent


def workflows_folder() -> Path:
    """Where the workflows lie that come with Spriteworks."""
    # In a wheel they lie inside the package, in a checkout beside it.
    in_wheel = _PACKAGE / "shipped"
    return in_wheel if in_wheel.is_dir() else _PACKAGE.parent / "workflows"


def has_pack(folder: Path) -> bool:
    """Say whether a ComfyUI folder has our pack among its custom nodes."""
    places = (folder / "custom_nodes").glob("*/comfy_nodes/extension.py")
    cloned = any(not place.parts[-3].endswith(".disabled") for place in places)
    return cloned or _is_shim(folder / "custom_nodes" / SHIM_NAME)


def write_shim(package: Path) -> None:
    """Write the package that loads the pack; it is whole at every moment, also for other readers.

    Raises OutputError where it cannot be written.
    """
    source = _SHIM.format(folder=repr(pack_folder().as_posix()), name=repr(SHIM_NAME))
    path = package / "__init__.py"
    part = package / f"__init__.{os.getpid()}.part"
    try:
        package.mkdir(exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != source:
            part.write_text(source, encoding="utf-8")
            part.replace(path)
    except OSError as error:
        raise OutputError(f"the nodes cannot be put into {package}: {error.strerror}") from error


def add_pack(folder: Path) -> None:
    """Put the pack among the custom nodes of a ComfyUI, with the workflows as its templates."""
    package = folder / "custom_nodes" / SHIM_NAME
    write_shim(package)
    templates = package / _TEMPLATES
    try:
        shutil.rmtree(templates, ignore_errors=True)
        templates.mkdir(exist_ok=True)
        for path in workflows_folder().iterdir():
            if path.suffix in (".json", ".jpg"):
                shutil.copyfile(path, templates / path.name)
    except OSError as error:
        raise OutputError(f"{templates} cannot be written: {error.strerror}") from error


def renew_pack(folder: Path) -> None:
    """Point the package that `add_pack` left in a ComfyUI, if it did, to where the pack lies now.

    Spriteworks may have been installed anew since then, elsewhere or in another version.
    """
    package = folder / "custom_nodes" / SHIM_NAME
    if _is_shim(package):
        write_shim(package)


def _is_shim(package: Path) -> bool:
    path = package / "__init__.py"
    return path.is_file() and path.read_text(encoding="utf-8").startswith(_FIRST_LINE)
