"""What a running orchestrator does while the record cannot be reached: it waits, with an end.

A database that is started anew is away for seconds, one that is moved for minutes. What was made
meanwhile is kept, and written down as soon as that works.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ...errors import StoreError, StoreUnreachable

T = TypeVar("T")

# s for which a record may be away before the run ends, and where it is to end anyhow
PATIENCE, _PARTING = 600.0, 2.0
# s between two tries, the first and the longest
_FIRST, _LONGEST = 0.1, 1.0


class Outages:
    """Knows whether the record can be reached, tells of it once, and repeats what needs it."""

    def __init__(
        self,
        tell: Callable[[str, bool], None],
        rest: Callable[[float], None],
        is_ending: Callable[[], bool],
        *,
        patience: float = PATIENCE,
    ) -> None:
        """`tell` takes a sentence and whether it is a warning; `rest` waits so many s.

        `is_ending` says whether the run is to end, so that nobody has much patience any more.
        """
        self._tell = tell
        self._rest = rest
        self._is_ending = is_ending
        self._patience = patience
        self._lock = threading.Lock()
        # s, monotonic, since when it is away; None while it is there
        self._since: float | None = None
        # s, monotonic, since when it is there
        self._back = time.monotonic()

    @property
    def is_away(self) -> bool:
        """Whether it could not be reached when that was last tried."""
        return self._since is not None

    def calm(self) -> float:
        """For how many s it has been there without a break; 0 while it is away."""
        with self._lock:
            return 0.0 if self._since is not None else time.monotonic() - self._back

    def disturbed(self) -> None:
        """This process was away itself, as where it was frozen: `calm` begins anew."""
        with self._lock:
            self._back = time.monotonic()

    def began(self, error: StoreError) -> None:
        """It could not be reached; may be said of each try."""
        with self._lock:
            is_new = self._since is None
            if is_new:
                self._since = time.monotonic()
        if is_new:
            self._tell(f"the record cannot be reached for now, and is waited for: {error}", True)

    def ended(self) -> None:
        """It was reached; may be said of each success."""
        if self._since is None:
            return
        with self._lock:
            since, self._since, self._back = self._since, None, time.monotonic()
        if since is not None:
            self._tell("the record can be reached again", False)

    def patiently(self, work: Callable[[], T]) -> T:
        """Do what needs the record and may be repeated, until it works.

        Raises StoreUnreachable where the record is away for too long.
        """
        pause = _FIRST
        while True:
            try:
                found = work()
            except StoreUnreachable as error:
                self.began(error)
                if self._is_hopeless():
                    raise
            else:
                self.ended()
                return found
            self._rest(pause)
            pause = min(2 * pause, _LONGEST)

    def _is_hopeless(self) -> bool:
        since = self._since
        patience = min(self._patience, _PARTING) if self._is_ending() else self._patience
        return since is not None and time.monotonic() - since > patience
