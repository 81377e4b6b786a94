"""Who looks at the canvas of the engine: nobody, for it has none."""

from __future__ import annotations

from pathlib import Path

from .context import context


class ProgressBar:
    """Of the node that runs in this thread."""

    def update(self, done: int, total: int) -> None:
        """Raises InterruptedByUser where the run is to stop."""
        context().progress(done, total)


class NoCanvas:
    """Answers `comfy_nodes.showing`."""

    def is_watched(self) -> bool:
        """Clients of the engine fetch results and show them themselves."""
        return False

    def temp_folder(self) -> Path:
        """The engine's own."""
        return context().folders.temp

    def progress_bar(self) -> ProgressBar:
        """Told to clients."""
        return ProgressBar()
