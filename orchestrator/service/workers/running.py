"""Runs a worker until somebody stops the process."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from ..systemd import Systemd
from .worker import WorkerProcess, WorkerSetup, joined

logger = logging.getLogger(__name__)

# s between two looks at whether it shall end; Python heeds signals in between
_TICK = 0.2


class _Signals:
    """Ends in good order at the first signal, and at once at the second."""

    def __init__(self) -> None:
        self.asked = False
        for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self._heed)

    def _heed(self, number: int, _frame: FrameType | None) -> None:
        if self.asked:
            # What it holds is taken over by others when its lease has run out.
            os._exit(128 + number)
        self.asked = True


def run(
    setup: WorkerSetup, drain: float, started: Callable[[WorkerProcess], None]
) -> WorkerProcess:
    """Work until SIGINT or SIGTERM (Ctrl-Break on Windows), then end what runs, for `drain` s.

    `started` is called once it claims. Returns the worker as it was at its end; raises what it
    could not go on for, OtherVersion or WorkerReplaced.
    """
    signals, systemd = _Signals(), Systemd()
    with joined(setup) as worker, systemd.beating(lambda: worker.trouble is None):
        worker.start()
        started(worker)
        systemd.ready(f"at work on {len(worker.servers())} servers")
        wake = threading.Event()
        while not signals.asked and worker.trouble is None:
            wake.wait(_TICK)
        systemd.stopping(f"what runs has {drain:.0f} s to end")
        logger.info("ending: what runs has %.0f s, and what is left waits again", drain)
        draining = threading.Thread(target=worker.drain, args=(drain,), daemon=True)
        draining.start()
        while draining.is_alive():
            draining.join(_TICK)
    if worker.trouble is not None:
        raise worker.trouble
    return worker
