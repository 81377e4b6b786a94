"""Where models are found and pictures go.

ComfyUI's `folder_paths` answers on ComfyUI. Another host (the embedded engine) installs its own
`HostFolders` with `use` before it loads the nodes; then the very same node classes work there.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from .errors import ModelNotFound, ModelUnreadable
from .host import HostFolders
from .vocabulary import vocabulary_of
from .weights.kinds import CHECKPOINT_SUFFIXES, PICKLE_SUFFIXES

MODEL_FILES = Path(__file__).parent / "model_files"
"""The models that come with the pack (diffusers folders); searched after the user's own."""

_installed: HostFolders | None = None


def use(folders: HostFolders | None) -> None:
    """Installs the host's folders for this process; None goes back to ComfyUI's."""
    global _installed
    _installed = folders


def current() -> HostFolders:
    """The installed folders, or ComfyUI's."""
    if _installed is not None:
        return _installed
    from .native.folders import ComfyFolders

    return ComfyFolders()


def checkpoint_names() -> list[str]:
    """Single-file checkpoints: safetensors, then pickles, which a loader refuses unless told."""
    names = current().checkpoint_names()
    kinds = (CHECKPOINT_SUFFIXES, PICKLE_SUFFIXES)
    return [name for kind in kinds for name in names if Path(name).suffix.lower() in kind]


def checkpoint_path(name: str) -> Path:
    """The file of a checkpoint. Raises ModelNotFound, naming those there are."""
    known = checkpoint_names()
    if name in known:
        for root in current().roots("checkpoints"):
            if (root / name).is_file():
                return root / name
    raise ModelNotFound.of("checkpoint", name, known)


def diffusers_names() -> list[str]:
    """Names of the diffusers folders there are (those holding a model_index.json), sorted."""
    return sorted(_diffusers_folders())


def diffusers_path(name: str) -> Path:
    """The folder of a diffusers model. Raises ModelNotFound, naming those there are."""
    found = _diffusers_folders()
    if name not in found:
        raise ModelNotFound.of("diffusers model", name, sorted(found))
    return found[name]


def diffusers_words() -> dict[str, dict[str, list[str]]]:
    """The words that diffusers models know, by the model's name, for those that say so.

    A damaged list is left out: it is told where the model is loaded.
    """
    found = {}
    for name, folder in sorted(_diffusers_folders().items()):
        with suppress(ModelUnreadable):
            words = vocabulary_of(folder)
            if words is not None:
                found[name] = words.to_json()
    return found


def _diffusers_folders() -> dict[str, Path]:
    """Name -> folder. Of two with one name the first root's wins; the pack's own come last."""
    found: dict[str, Path] = {}
    for root in [*current().roots("diffusers"), MODEL_FILES]:
        # Links may lead back up: of each folder, the real ones that it lies in.
        above = {os.fspath(root): frozenset([os.path.realpath(root)])}
        for parent, children, files in os.walk(root, followlinks=True):
            real = {each: os.path.realpath(os.path.join(parent, each)) for each in children}
            children[:] = [each for each in children if real[each] not in above[parent]]
            above |= {os.path.join(parent, c): above[parent] | {real[c]} for c in children}
            if "model_index.json" in files and os.path.isfile(f"{parent}/model_index.json"):
                children.clear()  # a model's parts are no models
                found.setdefault(Path(parent).relative_to(root).as_posix(), Path(parent))
    found.pop(".", None)
    return found
