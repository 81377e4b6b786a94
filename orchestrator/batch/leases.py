"""Keeps what an orchestrator has claimed, for as long as it lives.

A thread of its own renews the leases, so that no server, download or disk that is slow delays it,
and looks for jobs that were cancelled from other processes. While the database is away it tries
again and again: a lease that has run out is lost only when another orchestrator takes it over, and
whoever writes then is told.
"""

from __future__ import annotations

import os
import platform
import threading
import time
import uuid
from types import TracebackType

from ..errors import StoreError
from .dispatcher import Dispatcher

# s for which an attempt is held, where nothing else is said; it is renewed three times in that time
LEASE = 30.0
_TIMES = 3
# s between two looks for cancelled jobs
_LOOK = 0.5


def new_owner() -> str:
    """A name for this orchestrator that no other has, at most 64 letters long."""
    return f"{platform.node()[:24]}/{os.getpid()}/{uuid.uuid4().hex[:16]}"


class Renewal(threading.Thread):
    """Renews what a dispatcher holds; a context manager."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__(name="leases", daemon=True)
        self._dispatcher = dispatcher
        self._every = (dispatcher.settings.lease or LEASE) / _TIMES
        self._ending = threading.Event()
        # why the last try failed; "" where it did not
        self._trouble = ""

    def __enter__(self) -> Renewal:
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

    def run(self) -> None:
        """Work until the block ends; an unreachable store is waited for."""
        due = time.monotonic()
        while not self._ending.is_set():
            try:
                if time.monotonic() >= due:
                    began = time.monotonic()
                    self._dispatcher.renew()
                    due = began + self._every
                else:
                    self._dispatcher.look_for_cancelled()
                self._well()
            except StoreError as error:
                self._ill(str(error))
            self._ending.wait(min(_LOOK, self._every / _TIMES))

    def _well(self) -> None:
        if self._trouble:
            self._trouble = ""
            self._dispatcher.tell("the record can be reached again", warning=False)

    def _ill(self, error: str) -> None:
        if not self._trouble:
            self._dispatcher.tell(f"what is claimed cannot be renewed for now: {error}")
        self._trouble = error
