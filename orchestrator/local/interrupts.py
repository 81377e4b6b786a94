"""How Ctrl-C and SIGTERM end a command: in a moment that suits, and never late.

Python runs what answers a signal in the main thread, between any two steps of it. So a command has
three times: while it only loads it leaves at once, while it works the signal is an exception that
unwinds it (`Stopped`), and a batch takes it as a wish (`Interrupts`). In each of them the process
ends within 5 s; a server that we started ends with it, for its watchdog sees to that.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from sys import UnraisableHookArgs

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# What shells report for a command that a signal ended, to which its number is added.
SIGNALLED = 128

# s from the first signal to the end of the process, whatever is stuck; a little under 5 s
_LATEST = 4.7
# s for which a gentle end waits: whoever waits for a job notices up to 1 s later
_GENTLE = 2.5
# s after which nothing is waited for that another thread can cut off, which takes a second
_PATIENT = 3.4
# s after which a signal comes again that came in a moment that does not suit
_AGAIN = 0.02
_LATE = (
    "stopped without waiting any longer for what does not end; a job that was sent may still be "
    "on its server"
)


class Stopped(BaseException):
    """Ctrl-C or SIGTERM. No KeyboardInterrupt: typer ends on that without a word."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__()


def leave_at_once() -> None:
    """From now on a signal ends the process where it stands: there is nothing to put in order."""
    _answer(lambda number, frame: _leave(number, "stopped"))
    if hasattr(signal, "pthread_sigmask"):
        # Our launcher holds back what comes while Python starts.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def unwind() -> None:
    """From now on the first signal raises Stopped, and 5 s after it the process ends.

    Those that follow change nothing: things are being put in order.
    """
    # 15 ms, and while a command only loads nothing is drawn
    from ..screen import let_go

    unwinding = _Unwinding(sys.unraisablehook)
    _answer(unwinding.take)
    sys.unraisablehook = unwinding.lost
    _Deadline.before = let_go


def was_stopped() -> bool:
    """Say whether a signal ends this command."""
    return _Deadline.has_begun


class Interrupts:
    """Counts signals while its block runs; a context manager for the main thread.

    In other threads, where Python delivers no signals, it counts nothing.
    """

    _current: ClassVar[Interrupts | None] = None

    def __init__(self) -> None:
        # the last signal, 0 before the first
        self.number = 0
        self._hurried = False
        # s, monotonic, of the first one
        self._since = 0.0
        self._former: dict[int, Any] = {}

    @property
    def urgency(self) -> int:
        """0: go on. 1: Ctrl-C came, end gently. 2: end at once.

        It is 2 where Ctrl-C came again or a while ago, or SIGTERM came.
        """
        if not self.number:
            return 0
        return 2 if self._hurried or time.monotonic() - self._since > _GENTLE else 1

    @property
    def is_late(self) -> bool:
        """Whether what does not end by itself is to be cut off, for an end in good order."""
        return self.number > 0 and time.monotonic() - self._since > _PATIENT

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._former[number] = signal.signal(number, self._take)
            Interrupts._current = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._former:
            Interrupts._current = None
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self._hurried = self._hurried or self.number > 0 or number == signal.SIGTERM
        if not self.number:
            self._since = time.monotonic()
            _Deadline.begin(number)
        self.number = number


def is_hurried() -> bool:
    """Say whether a signal wants an end at once; for threads that wait, which get none."""
    current = Interrupts._current
    return current is not None and current.urgency > 1


class _Deadline:
    """The moment after a first signal at which the process ends, also where something is stuck."""

    # what to do before it; None in a process that is no command of ours, which has no such moment
    before: Callable[[], None] | None = None
    has_begun = False

    @classmethod
    def begin(cls, number: int) -> None:
        """A signal came."""
        if cls.before is not None and not cls.has_begun:
            cls.has_begun = True
            # threading.Thread takes locks, which the main thread may hold at this moment.
            _thread.start_new_thread(cls._end, (number,))

    @classmethod
    def _end(cls, number: int) -> None:
        time.sleep(_LATEST)
        if cls.before is not None:
            cls.before()
        _leave(number, _LATE)


class _Unwinding:
    """Turns the first signal into an exception in the main thread."""

    def __init__(self, unraisable: Any) -> None:
        self._unraisable = unraisable
        self._number = 0
        self._raised = False

    def take(self, number: int, frame: FrameType | None) -> None:
        """Answer a signal."""
        if self._raised:
            return
        self._number = self._number or number
        _Deadline.begin(self._number)
        if _imports(frame):
            # Modules that are half there, and those in C above all, make other errors of it.
            _come_again(self._number)
            return
        self._raised = True
        raise Stopped(self._number)

    def lost(self, unraisable: UnraisableHookArgs) -> None:
        """Take an exception that Python had to drop, as in the moment in which an object dies."""
        if isinstance(unraisable.exc_value, Stopped):
            self._raised = False
            _come_again(self._number)
        else:
            self._unraisable(unraisable)


def _answer(how: Any) -> None:
    for number in SIGNALS:
        signal.signal(number, how)


def _imports(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _come_again(number: int) -> None:
    def send() -> None:
        time.sleep(_AGAIN)
        if hasattr(signal, "pthread_kill"):
            # wakes it where it waits
            signal.pthread_kill(threading.main_thread().ident or 0, number)
        else:
            _thread.interrupt_main(signal.Signals(number))

    _thread.start_new_thread(send, ())


def _leave(number: int, sentence: str) -> None:
    """End the process here and now, past everything that would wait."""
    # Past Python's streams, too: somebody may be in the midst of writing to one.
    with suppress(OSError):
        os.write(2, f"error: {sentence}\n".encode())
    os._exit(SIGNALLED + number)
