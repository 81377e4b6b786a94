"""What is written down of a request while it is made, by whoever has it made.

The service does that for its own servers, and each worker for its own. An end is written once,
whoever is first, and its webhook with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ..batch.execution.store.store import Store
from ..batch.logic.jobs import State
from .requests import Requests
from .views import ErrorView, RequestView, told_of
from .webhooks import Webhooks

# What kinds of failures (`batch.logic.retry.FailureKind`) are called in answers, where that is not
# their name.
_CODES = {"node_failed": "node_execution_error", "refused": "invalid_workflow"}

# Is told, in the same transaction, that a request is in another state: (id, state, server, reason).
Told = Callable[[str, str, str, str], None]


def _nobody(id: str, state: str, server: str, reason: str) -> None:
    """Whom to tell where nobody else is to know."""


class Standing:
    """Writes down where requests stand."""

    def __init__(
        self,
        store: Store,
        requests: Requests,
        webhooks: Webhooks,
        clock: Callable[[], float] = time.time,
        tell: Told = _nobody,
    ) -> None:
        self._store = store
        self._requests = requests
        self._webhooks = webhooks
        self._clock = clock
        self._tell = tell
        # why the latest attempt of a request failed: (kind, sentence)
        self._causes: dict[str, tuple[str, str]] = {}

    def failed_once(self, ids: Sequence[str], error: str, cause: str) -> None:
        """An attempt failed; what becomes of its requests is not known yet."""
        self._causes.update((id, (cause, error)) for id in ids)

    def began(self, id: str, server: str) -> float:
        """A server runs it; returns the moment, s since the epoch."""
        now = self._clock()
        with self._store.transaction():
            self._requests.began(id, now, server)
            self._tell(id, "running", server, "")
        return now

    def waits_again(self, id: str) -> None:
        """It is no longer on its server."""
        with self._store.transaction():
            self._requests.waits_again(id)
            self._tell(id, State.PENDING.value, "", "")

    def ended(
        self, id: str, state: State, server: str, reason: str, told: ErrorView | None = None
    ) -> None:
        """It has come to its end; `told` is the error that its server told of.

        May be said again, as after a StoreError.
        """
        kind, words = self._causes.get(id, ("", ""))
        error = None
        if state in (State.FAILED, State.QUARANTINED):
            error = told or ErrorView(
                code=_CODES.get(kind, kind or "job_failed"), message=reason or words
            )
        with self._store.transaction():
            if self._requests.ended(id, self._clock(), server, error):
                self._tell_webhook(self._requests.get(id))
            self._tell(id, state.value, server, reason)
        self._causes.pop(id, None)

    def _tell_webhook(self, view: RequestView | None) -> None:
        if view is not None and view.webhook:
            kind = f"job.{view.status.value}"
            self._webhooks.enqueue(view.owner, view.id, view.webhook, kind, told_of(view))
