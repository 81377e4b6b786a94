"""ComfyUI's model and output folders."""

from __future__ import annotations

from pathlib import Path

import folder_paths
from comfy.cli_args import args

from ..host import SaveTarget


class ComfyFolders:
    """What `folder_paths` and ComfyUI's command line say; implements host.HostFolders."""

    def roots(self, kind: str) -> list[Path]:
        """The folders searched for models of `kind`."""
        return [Path(path) for path in folder_paths.get_folder_paths(kind)]

    def checkpoint_names(self) -> list[str]:
        """Every file that ComfyUI lists as a checkpoint."""
        return list(folder_paths.get_filename_list("checkpoints"))

    def save_target(self, prefix: str, width: int, height: int) -> SaveTarget:
        """The next free name, counted as by ComfyUI's SaveImage."""
        folder, filename, counter, subfolder, _ = folder_paths.get_save_image_path(
            prefix, folder_paths.get_output_directory(), width, height
        )
        return SaveTarget(Path(folder), filename, counter, subfolder)

    def save_metadata(self) -> bool:
        """False when ComfyUI was started with --disable-metadata."""
        return not args.disable_metadata
