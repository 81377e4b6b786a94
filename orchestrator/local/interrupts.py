"""Ctrl-C and SIGTERM as wishes that are looked at when it suits, instead of exceptions anywhere."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupts:
    """Counts signals while its block runs; a context manager for the main thread.

    In other threads, where Python delivers no signals, it counts nothing.
    """

    def __init__(self) -> None:
        # 0: go on. 1: Ctrl-C came, end gently. 2: it came again, or SIGTERM did; end at once.
        self.urgency = 0
        # the last signal, 0 before the first
        self.number = 0
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._former[number] = signal.signal(number, self._take)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        again = self.urgency > 0
        self.number = number
        self.urgency = 2 if again or number == signal.SIGTERM else 1
