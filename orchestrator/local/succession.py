"""A server process that is started while the one before it still works."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ..errors import ServerStartFailed, SpriteworksError
from .process import ServerProcess

if TYPE_CHECKING:
    from .serving import Launcher


class Successor(threading.Thread):
    """Starts a server on a thread of its own; `take` or `end` has to follow."""

    def __init__(self, launcher: Launcher) -> None:
        super().__init__(name="successor", daemon=True)
        self._launcher = launcher
        self._cancelled = threading.Event()
        self._stack = ExitStack()
        self._process: ServerProcess | None = None
        self._error: SpriteworksError | None = None
        self.start()

    def run(self) -> None:
        """Start it; never raises."""
        try:
            launched = self._launcher(cancelled=self._cancelled)
            self._process = self._stack.enter_context(launched)
        except SpriteworksError as error:
            self._error = error
        except OSError as error:
            self._error = ServerStartFailed(f"a server cannot be started: {error}")
            self._error.__cause__ = error

    def take(self) -> tuple[ServerProcess, ExitStack]:
        """The process, once it is ready, and what ends it; raises what its start failed with."""
        self.join()
        if self._process is None:
            raise self._error or ServerStartFailed("a server was stopped before it was ready")
        return self._process, self._stack

    def end(self) -> None:
        """End the process, also while it starts."""
        self._cancelled.set()
        self.join()
        self._stack.close()
