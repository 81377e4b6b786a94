"""The engine's folders as the node pack asks for them."""

from __future__ import annotations

from pathlib import Path

from comfy_nodes.host import SaveTarget
from comfy_nodes.weights.kinds import CHECKPOINT_SUFFIXES, PICKLE_SUFFIXES

from . import context


class PackFolders:
    """Answers `comfy_nodes.folders` from the folders of the engine."""

    def roots(self, kind: str) -> list[Path]:
        """The folders searched for models of `kind`."""
        return context().folders.model_folders(kind)

    def checkpoint_names(self) -> list[str]:
        """Names of the checkpoint files there are."""
        suffixes = CHECKPOINT_SUFFIXES | PICKLE_SUFFIXES
        return list(context().folders.models("checkpoints", suffixes))

    def save_target(self, prefix: str, width: int, height: int) -> SaveTarget:
        """The next free name for pictures of that size in the output folder."""
        folders = context().folders
        folder, name, number = folders.next_image(prefix, "output", width, height)
        return SaveTarget(folder, name, number, folders.subfolder(folder, "output"))

    def save_metadata(self) -> bool:
        """Saved pictures always carry the workflow."""
        return True
