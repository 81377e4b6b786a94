"""By how much a server has grown, and when to look."""

from __future__ import annotations

import time
from collections.abc import Callable

# MiB that a server may grow by where nothing else is said
GROWTH = 8192
# The first graphs load the models. From then on its size is looked at after so many graphs, or s,
# whichever comes first.
_WARM, _LOOK = 4, 1.0


class ServerGrowth:
    """By how much a process has grown since its first graphs, which load the models."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        """It may grow by `most` bytes; 0 is any number."""
        self._most = most
        self._clock = clock
        # bytes after the first graphs; 0 before
        self._first = 0
        # bytes beyond that, once it has grown by more than it may; else 0
        self.too_much = 0
        self._graphs, self._looked = 0, clock()

    def is_due(self, graphs: int) -> bool:
        """Say whether to look at it now, after so many graphs: a look takes system calls."""
        if not self._most or graphs < _WARM or graphs == self._graphs:
            return False
        return graphs - self._graphs >= _WARM or self._clock() - self._looked >= _LOOK

    def look(self, graphs: int, size: int) -> None:
        """Note its size in bytes."""
        self._graphs, self._looked = graphs, self._clock()
        self._first = self._first or size
        if size - self._first > self._most:
            self.too_much = size - self._first
