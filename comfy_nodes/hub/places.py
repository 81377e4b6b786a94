"""Where models lie on this machine, and where a download goes.

Two places: a models folder in ComfyUI's layout (`diffusers/KEY`, `checkpoints/FILE`, `loras/FILE`),
and the hub's own cache, which diffusers and others share. A model that diffusers has fetched before
is found there. LoRAs are in models folders alone, where servers look for them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UnsupportedModel
from ..loras import Lora
from ..models import Version
from .files import INDEX, folder_files


@dataclass(frozen=True)
class Found:
    """A version on this machine: a diffusers folder, or a single file."""

    path: Path

    @property
    def is_folder(self) -> bool:
        """Whether it is a diffusers folder."""
        return self.path.is_dir()


@dataclass(frozen=True)
class Places:
    """The folders to look in, in order, before the hub's cache."""

    diffusers: Sequence[Path] = ()
    checkpoints: Sequence[Path] = ()

    @classmethod
    def of_models(cls, folder: Path | None) -> Places:
        """Those of one models folder in ComfyUI's layout."""
        if folder is None:
            return cls()
        return cls((folder / "diffusers",), (folder / "checkpoints",))


@dataclass(frozen=True)
class DownloadTarget:
    """Where a download goes: the files of a folder beside each other, or one file."""

    folder: Path
    lock: Path  # held while one process writes there
    # Of the hub's cache only: the file that names the newest commit.
    reference: Path | None = None


def hub_cache() -> Path:
    """The hub's cache: HF_HUB_CACHE, else `hub` in HF_HOME, else in the user's cache folder.

    As huggingface_hub's documentation of its environment variables says.
    """
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if named:
        return Path(named).expanduser()
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or os.path.join(caches, "huggingface")
    return Path(home).expanduser() / "hub"


def target(version: Version, commit: str, models: Path | None, *, single: bool) -> DownloadTarget:
    """Where a download of that commit goes; `models` None: into the hub's cache."""
    if models is None:
        repository = _repository(version)
        return DownloadTarget(
            repository / "snapshots" / commit,
            hub_cache() / ".locks" / repository.name / "spriteworks.lock",
            repository / "refs" / "main",
        )
    folder = models / "checkpoints" if single else models / "diffusers" / version.key
    return DownloadTarget(folder, models / f".{version.key}.lock")


def lora_target(lora: Lora, models: Path) -> DownloadTarget:
    """Where a download of that LoRA goes."""
    return DownloadTarget(models / "loras", models / f".{lora.key}.lock")


def find_lora(lora: Lora, models: Path) -> Found | None:
    """The LoRA where it lies in a models folder, or below its folder for LoRAs; None elsewhere."""
    there = sorted((models / "loras").rglob(lora.file.name))
    return next((Found(path) for path in there if path.is_file()), None)


def find(version: Version, places: Places) -> Found | None:
    """The version where it lies whole, in the order of the places; None where it is nowhere."""
    for path in _folders(version, places):
        if not missing(path, version):
            return Found(path)
    if version.checkpoint is not None:
        roots = [*places.checkpoints, *_snapshots(version)]
        name = version.checkpoint.name
        files = (path for root in roots for path in sorted(root.rglob(name)))
        found = next((path for path in files if path.is_file()), None)
        return Found(found) if found else None
    return None


def unfinished(version: Version, places: Places) -> str | None:
    """What is missing of a folder of that version that is there and not whole, with its path."""
    for path in _folders(version, places):
        lack = missing(path, version)
        if lack:
            return f"{path} is not whole: {lack}"
    return None


def missing(folder: Path, version: Version) -> str | None:
    """What a folder lacks of that version, in words; None where all files are there."""
    try:
        # Either weights will do: a loader reads those there are.
        folder_files(files_in(folder), version, half=True)
    except UnsupportedModel as error:
        return str(error)
    return None


def files_in(folder: Path) -> set[str]:
    """The paths of all files in a folder and below it, seen from it and with "/"."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def names_of(version: Version) -> tuple[str, ...]:
    """The names that a folder of that version may have in a diffusers folder."""
    return (version.key, version.hub_id.split("/")[1], version.hub_id)


def commit_of(path: Path) -> str | None:
    """The commit that a folder in the hub's cache is of."""
    return path.name if path.parent.name == "snapshots" else None


def _folders(version: Version, places: Places) -> list[Path]:
    named = [root / name for root in places.diffusers for name in names_of(version)]
    return [path for path in [*named, *_snapshots(version)] if (path / INDEX).is_file()]


def _snapshots(version: Version) -> list[Path]:
    """The version's folders in the hub's cache, the newest reference's first."""
    repository = _repository(version)
    found = sorted((repository / "snapshots").glob("*"))
    reference = repository / "refs" / "main"
    newest = reference.read_text(encoding="utf-8").strip() if reference.is_file() else ""
    return sorted(found, key=lambda path: path.name != newest)


def _repository(version: Version) -> Path:
    return hub_cache() / f"models--{version.hub_id.replace('/', '--')}"
