"""Values handed on by a thread of their own; those that come close together go as one set."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

logger = logging.getLogger(__name__)

# s between two sets: so many are 20 a second at most, however many jobs come
_PAUSE = 0.05
# s after a set that could not be handed on until it is tried again, and at most
_REST, _LONGEST_REST = 0.5, 8.0


class Coalescer:
    """Hands sets of values to `handle`, which may wait for others and may fail."""

    def __init__(
        self, handle: Callable[[frozenset[str]], None], name: str, what: str = "hints"
    ) -> None:
        """`what` is what the log says cannot be handed on, where `handle` raises."""
        self._handle = handle
        self._what = what
        self._changed = threading.Condition()
        self._waiting: set[str] = set()
        self._ending = threading.Event()
        self._rest = _PAUSE
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, values: Iterable[str]) -> None:
        """Hand values on soon; takes no time."""
        with self._changed:
            self._waiting.update(values)
            self._changed.notify()

    def close(self, seconds: float = 3.0) -> None:
        """Drop what waits, and wait at most so long for what is being handed on."""
        self._ending.set()
        with self._changed:
            self._changed.notify()
        self._thread.join(seconds)

    def _run(self) -> None:
        while (values := self._next()) is not None:
            try:
                self._handle(values)
                self._well()
            except Exception as error:  # noqa: BLE001  (whatever a driver raises, hints may be lost)
                self._ill(error, values)
            self._ending.wait(self._rest)

    def _next(self) -> frozenset[str] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ending.is_set())
            if self._ending.is_set():
                return None
            values, self._waiting = frozenset(self._waiting), set()
            return values

    def _well(self) -> None:
        if self._rest > _PAUSE:
            logger.info("%s are handed on again", self._what)
        self._rest = _PAUSE

    def _ill(self, error: Exception, values: Iterable[str]) -> None:
        if self._rest == _PAUSE:
            logger.warning("%s cannot be handed on for now: %s", self._what, error)
        self._rest = min(max(_REST, 2 * self._rest), _LONGEST_REST)
        with self._changed:
            self._waiting.update(values)
