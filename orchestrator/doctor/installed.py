"""What is installed: extras of the package, ComfyUI, models."""

from __future__ import annotations

import importlib.metadata
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

# what huggingface_hub brings
from packaging.requirements import Requirement

from ..errors import BadValue
from ..extras import install_line
from ..local.launch import python_of
from ..local.pack import has_pack
from ..models.store import listed, named
from ..version import __version__
from .findings import Finding, FindingState, absent

_NAME = "spriteworks"
# Where comfy-cli and people put it.
_USUAL = ("comfy/ComfyUI", "ComfyUI")


def extras(asked: Collection[str]) -> Iterator[Finding]:
    """The extras of this installation, and what is missing of each."""
    try:
        needed = importlib.metadata.requires(_NAME) or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding(
            name="spriteworks",
            state=FindingState.FINE,
            text=f"{__version__}, a checkout as it stands",
        )
        return
    yield Finding(name="spriteworks", state=FindingState.FINE, text=__version__)
    known = importlib.metadata.metadata(_NAME).get_all("Provides-Extra") or []
    wrong = sorted(set(asked) - set(known))
    if wrong:
        raise BadValue(f"there is no extra {wrong[0]} (there is: {', '.join(sorted(known))})")
    for extra in sorted(known):
        lacking = [one for one in _packages(needed, extra) if not _is_installed(one)]
        if not lacking:
            yield Finding(name=f"extra {extra}", state=FindingState.FINE, text="installed")
        elif extra != "dev":
            text = f"without {', '.join(lacking)}"
            yield absent(f"extra {extra}", text, install_line(extra), asked=extra in asked)


def _packages(needed: list[str], extra: str) -> Iterator[str]:
    """The packages that an extra needs on this system."""
    for one in map(Requirement, needed):
        if one.name != _NAME and one.marker and one.marker.evaluate({"extra": extra}):
            yield one.name


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def comfyui(folder: Path | None, environment: Mapping[str, str] = os.environ) -> Finding:
    """The ComfyUI of a folder, else of COMFYUI_PATH, else where it usually is."""
    named = environment.get("COMFYUI_PATH", "").strip()
    wanted = folder or (Path(named) if named else None)
    usual = [Path.home() / one for one in _USUAL]
    for place in [wanted] if wanted else usual:
        if (place / "main.py").is_file() and (place / "comfy").is_dir():
            return _comfyui_in(place)
    where = str(wanted) if wanted else " or ".join(map(str, usual))
    remedy = "clone ComfyUI there and make its .venv, or give its folder by --comfyui"
    return absent("comfyui", f"no ComfyUI in {where}", remedy, asked=wanted is not None)


def _comfyui_in(folder: Path) -> Finding:
    try:
        text = (folder / "comfyui_version.py").read_text(encoding="utf-8")
        version = re.findall(r'__version__ = "([^"]+)"', text)[0]
    except (OSError, IndexError):
        version = "of an unknown version"
    python = python_of(folder)
    own = Path(python).is_relative_to(folder) or Path(python).is_relative_to(folder.parent)
    words = f"ComfyUI {version} in {folder}"
    words += ", with the pack" if has_pack(folder) else "; the pack is added when it is started"
    if own:
        return Finding(name="comfyui", state=FindingState.FINE, text=words)
    remedy = f"make {folder / '.venv'} and install its requirements.txt into it"
    return Finding(
        name="comfyui",
        state=FindingState.POOR,
        text=f"{words}, without a .venv of its own",
        remedy=remedy,
    )


def models(folder: Path | None, asked: Collection[str]) -> Iterator[Finding]:
    """The models that the loaders know: those that are here, and those that are asked for.

    Raises BadValue for one that nobody knows.
    """
    wanted = {named(name).key for name in asked}
    rows = listed(folder)
    here = [row["name"] for row in rows if row["path"]]
    text = f"{', '.join(here)}, and the starter model" if here else "the starter model only"
    yield Finding(name="models", state=FindingState.FINE, text=text)
    for row in rows:
        if row["name"] in wanted:
            name = f"model {row['name']}"
            if row["path"]:
                yield Finding(name=name, state=FindingState.FINE, text=str(row["path"]))
            else:
                at = f" --models {folder}" if folder else ""
                size = f"{row['download_bytes'] / 1e9:.1f} GB"
                remedy = f"spriteworks models pull {row['name']}{at} ({size})"
                yield absent(name, "not on this machine", remedy, asked=True)
