"""What a copy of the pack gives a host that has the nodes of another copy."""

from __future__ import annotations

import logging
from pathlib import Path

from comfy_api.latest import ComfyExtension, io

from .copies import folder

_log = logging.getLogger(__name__)


class UnusedExtension(ComfyExtension):
    """No nodes, and a sentence for the log."""

    def __init__(self, used: Path) -> None:
        super().__init__()
        _log.warning(
            "Spriteworks is installed twice: its nodes are those of %s, and %s is not used; remove "
            "one of the two folders and start ComfyUI again",
            used,
            folder(),
        )

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """None."""
        return []
