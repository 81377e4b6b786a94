"""How long requests take, and how long it is until one is done; from what took how long lately."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from .views import RequestView, Status

# (workflow, model), both as requests note them
Kind: TypeAlias = tuple[Any, Any]

# s for which what the record said is good enough
_FRESH = 3.0
# of a request, from which on its own pace counts
_TELLING = 0.1
# of each kind, how many of the latest count
_COUNTED = 9


def kind_of(notes: Any) -> Kind:
    """What a request's seconds depend on most, from its notes."""
    model = notes.get("parameters", {}).get("model")
    return notes.get("workflow"), model if isinstance(model, str) else None


def typical(recent: Iterable[tuple[Kind, float]]) -> dict[Kind, float]:
    """The median s of the latest of each kind; `recent` has the newest first."""
    found: dict[Kind, list[float]] = {}
    for kind, seconds in recent:
        known = found.setdefault(kind, [])
        if len(known) < _COUNTED:
            known.append(seconds)
    return {kind: statistics.median(seconds) for kind, seconds in found.items()}


def seconds_left(
    view: RequestView, usual: float, servers: int, now: float, running: Sequence[float] = ()
) -> float | None:
    """About how many s until a request is done; None where that cannot be said.

    `usual` is s that one of its kind takes, `running` what those have left that run now. Whoever
    waits in front of it is taken to be of its kind.
    """
    if view.status is Status.RUNNING and view.started_at is not None:
        ran, share = now - view.started_at, view.progress.value if view.progress else 0.0
        # Its own pace says more than that of others, as soon as it can be told.
        left = ran * (1 - share) / share if share >= _TELLING else usual - ran
        return max(left, 0.0)
    if view.queue_position is None:
        return None
    ahead = (view.queue_position - 1) * usual + sum(running)
    return ahead / max(servers, 1) + usual


class Times:
    """The usual s of each kind, from the record."""

    def __init__(self, recent: Callable[[], Iterable[tuple[Kind, float]]]) -> None:
        self._recent = recent
        self._lock = threading.Lock()
        self._usual: dict[Kind, float] = {}
        self._asked = -_FRESH

    def usual(self, view: RequestView) -> float | None:
        """The s that one of its kind takes; None where none was made lately."""
        with self._lock:
            now = time.monotonic()
            if now - self._asked >= _FRESH:
                self._usual, self._asked = typical(self._recent()), now
            return self._usual.get(kind_of(view.notes))
