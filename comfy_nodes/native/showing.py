"""ComfyUI's canvas: who watches a run, and where pictures go that are only looked at."""

from __future__ import annotations

import sys
from pathlib import Path

import comfy.utils
import folder_paths


class ComfyCanvas:
    """What ComfyUI's server knows of the client that asked for this run; a showing.Canvas."""

    def is_watched(self) -> bool:
        """Whether that client is connected and said, as editors do, that it shows previews."""
        # Scripts use nodes without ComfyUI's server, and it must not be loaded for this.
        loaded = getattr(sys.modules.get("server"), "PromptServer", None)
        server = getattr(loaded, "instance", None)
        client = getattr(server, "client_id", None)
        if server is None or client is None:
            return False
        from comfy_api.feature_flags import supports_feature

        return bool(supports_feature(server.sockets_metadata, client, "supports_preview_metadata"))

    def temp_folder(self) -> Path:
        """ComfyUI's own; it is emptied when ComfyUI starts and ends."""
        return Path(folder_paths.get_temp_directory())

    def progress(self, done: int, total: int) -> None:
        """Shown on the node; raises ComfyUI's own error once the run is to stop."""
        comfy.utils.ProgressBar(total).update_absolute(done, total)
