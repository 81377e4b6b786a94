"""ComfyUI's progress of the running node."""

from __future__ import annotations

import comfy.utils


class ProgressBar:
    """Shows how much of a total is done; raises ComfyUI's own error once the run is to stop."""

    def __init__(self) -> None:
        self._bar = comfy.utils.ProgressBar(1)

    def update(self, done: int, total: int) -> None:
        """`done` of `total`, in any unit."""
        self._bar.update_absolute(done, total)
