"""Whether the run that goes on is to stop: asked wherever work takes long, where it is done.

It lies below everything that computes; the host says who is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class InterruptedByUser(Exception):
    """Somebody asked the server to stop the run; nodes let it pass."""


def _nobody() -> None:
    """Outside a run nobody asks to stop."""


_asked: ContextVar[Callable[[], None]] = ContextVar("who is asked whether to stop", default=_nobody)


def check_interrupted() -> None:
    """Raise InterruptedByUser where the run is to stop; takes less than a microsecond."""
    _asked.get()()


@contextmanager
def asking(check: Callable[[], None]) -> Iterator[None]:
    """Make `check` what `check_interrupted` calls in this thread."""
    token = _asked.set(check)
    try:
        yield
    finally:
        _asked.reset(token)
