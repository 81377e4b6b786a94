"""Whether the run that goes on is to stop: asked wherever work takes long, where it is done.

It lies below everything that computes; the host says who is asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

_T = TypeVar("_T")
# s between two looks whether to stop, while something is waited for
_LOOK = 0.1
# s that a file may take: one of 100 MB over a slow network; a mount that is gone never answers
_LONGEST_READ = 60.0


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


def read_stoppably(read: Callable[[], _T], seconds: float = _LONGEST_READ) -> _T:
    """What `read` gives, which may block in the system, without blocking this thread for ever.

    Raises InterruptedByUser where the run is to stop meanwhile, TimeoutError after so many seconds,
    and what `read` raises. The thread that still waits then is left behind, and ends with the
    process.
    """
    found: list[_T] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            found.append(read())
        except BaseException as error:  # noqa: BLE001 - raised again below
            failed.append(error)

    thread = threading.Thread(target=work, name="reading a file", daemon=True)
    thread.start()
    for _ in range(max(1, round(seconds / _LOOK))):
        thread.join(_LOOK)
        if not thread.is_alive():
            break
        check_interrupted()
    else:
        raise TimeoutError(f"it did not come within {seconds:g} s; look at its disk or network")
    if failed:
        raise failed[0]
    return found[0]
