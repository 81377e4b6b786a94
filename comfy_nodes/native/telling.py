"""What a person shall read: in ComfyUI's log, and on the node that runs."""

from __future__ import annotations

import logging
import sys

from comfy_execution.utils import get_executing_context

_log = logging.getLogger(__name__)


def tell(text: str) -> None:
    """Log a sentence, and show it on the node that runs now, where one does."""
    _log.warning("%s", text)
    running = get_executing_context()
    # The server is a module of its own, which is there only where ComfyUI serves.
    host = getattr(sys.modules.get("server"), "PromptServer", None)
    serving = getattr(host, "instance", None)
    if running is not None and serving is not None:
        serving.send_progress_text(text, running.node_id)
