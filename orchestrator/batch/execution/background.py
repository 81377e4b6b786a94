"""Threads that work beside a block of code, until it ends."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TypeVar

_Self = TypeVar("_Self", bound="Background")


class Background(threading.Thread):
    """A thread that begins with a `with` block and is waited for at its end; a context manager.

    `run` looks at `_ending`, or waits for it, and returns soon once it is set.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._ending = threading.Event()

    def __enter__(self: _Self) -> _Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.set()
        self.join()
