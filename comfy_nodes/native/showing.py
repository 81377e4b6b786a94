"""ComfyUI's canvas: who watches a run, and where pictures go that are only looked at."""

from __future__ import annotations

import sys
from pathlib import Path

import folder_paths

from .progress import ProgressBar

# What the pack's JavaScript adds to the features that an editor names when it connects.
FEATURE = "shows_spriteworks"


class ComfyCanvas:
    """What ComfyUI's server knows of the client that asked for this run; a showing.Canvas."""

    def is_watched(self) -> bool:
        """Whether that client is connected and has the pack's JavaScript."""
        # Scripts use nodes without ComfyUI's server, and it must not be loaded for this.
        loaded = getattr(sys.modules.get("server"), "PromptServer", None)
        server = getattr(loaded, "instance", None)
        client = getattr(server, "client_id", None)
        if server is None or client is None:
            return False
        from comfy_api.feature_flags import supports_feature

        return bool(supports_feature(server.sockets_metadata, client, FEATURE))

    def temp_folder(self) -> Path:
        """ComfyUI's own; it is emptied when ComfyUI starts and ends."""
        return Path(folder_paths.get_temp_directory())

    def progress_bar(self) -> ProgressBar:
        """Shown on the node that runs now."""
        return ProgressBar()
