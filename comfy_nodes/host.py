"""What the nodes ask their host about files; ComfyUI and the engine each answer it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class SaveTarget:
    """Where a batch of pictures is saved: picture i is `{filename}_{counter + i:05}_.png`."""

    folder: Path
    filename: str
    counter: int
    subfolder: str  # relative to the output folder, as the history reports it


class HostFolders(Protocol):
    """What the nodes ask a host about files."""

    def roots(self, kind: str) -> list[Path]:
        """The folders searched for models of `kind`: checkpoints, diffusers, embeddings."""
        ...

    def checkpoint_names(self) -> list[str]:
        """Names of the checkpoint files there are, relative to their roots."""
        ...

    def save_target(self, prefix: str, width: int, height: int) -> SaveTarget:
        """The next free name for pictures of that size in the output folder."""
        ...

    def save_metadata(self) -> bool:
        """Whether saved pictures carry the workflow."""
        ...
