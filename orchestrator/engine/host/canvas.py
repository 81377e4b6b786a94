"""Who looks at the canvas of the engine: nobody, for it has none."""

from __future__ import annotations

from pathlib import Path

from .context import context


class NoCanvas:
    """Answers `comfy_nodes.showing`."""

    def is_watched(self) -> bool:
        """Clients of the engine fetch results and show them themselves."""
        return False

    def temp_folder(self) -> Path:
        """The engine's own."""
        return context().folders.temp

    def progress(self, done: int, total: int) -> None:
        """Told to clients; raises where the run is to stop."""
        context().progress(done, total)
