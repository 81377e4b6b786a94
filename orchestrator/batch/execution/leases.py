"""Keeps what an orchestrator has claimed, for as long as it lives.

A thread of its own renews the leases, so that no server, download or disk that is slow delays it,
looks for jobs that were cancelled from other processes, and for what other orchestrators have let
run out. While the database is away it tries again and again: a lease that has run out is lost only
when another orchestrator takes it over, and whoever writes then is told.
"""

from __future__ import annotations

import os
import platform
import time
import uuid
from collections.abc import Callable

from ...errors import StoreError
from ..logic.messages import fault
from .background import Background
from .dispatcher import Dispatcher, moments
from .store.store import Store

# s for which an attempt is held, where nothing else is said; it is renewed three times in that time
LEASE = 30.0
_TIMES = 3
# the fact that names the owner who holds the folder
_HOLDER = "holder"
# s between two looks for cancelled jobs, and for attempts of which the lease has run out
_LOOK, _LOOK_OVER = 0.5, 1.0


def new_owner() -> str:
    """A name for this orchestrator that no other has, at most 64 letters long."""
    return f"{platform.node()[:24]}/{os.getpid()}/{uuid.uuid4().hex[:16]}"


def succeed(store: Store, owner: str) -> str | None:
    """Note who holds the folder from now on; returns who did before, None where nobody noted it.

    That one is dead, as only one process at a time holds a folder.
    """
    with store.transaction():
        before = store.fact(_HOLDER)
        store.set_fact(_HOLDER, owner)
    return before


class Renewal(Background):
    """Renews what a dispatcher holds; a context manager."""

    def __init__(self, dispatcher: Dispatcher, look: Callable[[], None] = lambda: None) -> None:
        """`look` looks for what others have let run out, see `takeover.Takeover`; is quick."""
        super().__init__("leases")
        self._dispatcher = dispatcher
        self._look = look
        self._every = (dispatcher.settings.lease or LEASE) / _TIMES

    def run(self) -> None:
        """Work until the block ends; an unreachable store is waited for."""
        due = look_over = time.monotonic()
        last = moments()
        while not self._ending.is_set():
            last = self._seen(last)
            try:
                if time.monotonic() >= due:
                    began = time.monotonic()
                    self._dispatcher.renew()
                    due = began + self._every
                else:
                    self._dispatcher.look_for_cancelled()
                self._dispatcher.outages.ended()
                self._dispatcher.write_log()
                if time.monotonic() >= look_over:
                    self._look()
                    look_over = time.monotonic() + min(_LOOK_OVER, self._every)
            except StoreError as error:
                self._dispatcher.outages.began(error)
            except Exception as error:  # noqa: BLE001  (the last place before the thread ends)
                self._dispatcher.stop(fault(error, "the leases"))
                return
            self._ending.wait(min(_LOOK, self._every / _TIMES))

    def _seen(self, last: tuple[float, float]) -> tuple[float, float]:
        """Now; where that is long after the last time, this process or its machine was frozen.

        Then others were perhaps as well, and get the time to renew what is theirs.
        """
        now = moments()
        if any(after - before >= self._every for before, after in zip(last, now, strict=True)):
            self._dispatcher.outages.disturbed()
        return now
