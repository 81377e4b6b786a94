"""What is said of a run: to whoever observes it, and into the log of its record."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from ...errors import StoreUnreachable
from ..logic.assignments import Assignment
from ..logic.messages import BatchObserver, failure_event, failure_words
from ..logic.retry import Decision, FailureKind
from .endings import Finished, Move, Written
from .outages import Outages
from .store.store import Store

# sentences for the log that wait for the record at most, while it is away
_MOST_UNWRITTEN = 1000


class RunLog:
    """Tells an observer of every change, and writes sentences down; for any number of threads."""

    def __init__(
        self, store: Store, observer: BatchObserver, outages: Outages, is_away: Callable[[], bool]
    ) -> None:
        """`is_away` says whether to leave the record alone for now."""
        self.observer = observer
        self._store = store
        self._outages = outages
        self._is_away = is_away
        # what the log lacks because the record was away
        self._unwritten: deque[dict[str, Any]] = deque(maxlen=_MOST_UNWRITTEN)

    def say(self, text: str, *, warning: bool = False, server: str = "", key: str = "") -> None:
        """Write a sentence into the log and tell the observer."""
        about = {"text": text, "warning": warning, "server": server, "key": key}
        self._unwritten.append({**about, "now": time.time()})
        self.write()
        self.tell(text, warning=warning, server=server, key=key)

    def write(self) -> None:
        """Write the sentences that wait into the log, if the record is there."""
        while not self._is_away():
            try:
                one = self._unwritten.popleft()
            except IndexError:
                return
            try:
                self._store.log(**one)
            except StoreUnreachable as error:
                self._unwritten.appendleft(one)
                self._outages.began(error)
                return

    def tell(self, text: str, *, warning: bool = True, server: str = "", key: str = "") -> None:
        """Tell the observer a sentence, and write nothing; `key` is of the job it is about."""
        about = {"key": key} if key else {}
        self.observer.happened("note", text=text, warning=warning, server=server, **about)

    def moved(self, moves: Iterable[Move], server: str = "") -> None:
        """Tell where jobs stand now; the observer may look into the record for it."""
        for key, state, reason in moves:
            about = {"key": key, "state": state, "server": server, "reason": reason}
            self._outages.patiently(partial(self.observer.happened, "state", **about))

    def failed(
        self, assignment: Assignment, kind: FailureKind, error: str, decision: Decision
    ) -> None:
        """Say that an attempt failed, and what is done about it."""
        words = failure_words(assignment, error, decision)
        server, key = assignment.attempt.server, assignment.jobs[0].key
        self.say(words, warning=True, server=server, key=key)
        self.observer.happened("failed", **failure_event(assignment, kind, error, decision))

    def done(self, one: Finished, written: Written) -> None:
        """Tell of the pictures of an attempt, and of what was written down for its jobs."""
        server = one.assignment.attempt.server
        for text in written.words:
            self.say(text, warning=True, server=server)
        for artifact in written.artifacts:
            self.observer.happened(
                "done", path=artifact.path, seed=artifact.seed, server=server, seconds=one.seconds
            )
        self.moved(written.moves, server)
