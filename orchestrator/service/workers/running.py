"""Runs a worker until somebody stops the process."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType

from ..waking.reconciler import awake
from ..waking.wakeups import check_broker
from .worker import Setup, WorkerProcess, joined

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


def run(setup: Setup, drain: float, started: Callable[[WorkerProcess], None]) -> WorkerProcess:
    """Work until SIGINT or SIGTERM (Ctrl-Break on Windows), then end what runs, for `drain` s.

    `started` is called once it claims. Returns the worker as it was at its end; raises what it
    could not go on for, OtherVersion or WorkerReplaced.
    """
    # Mistakes are told before anything is written.
    check_broker(setup.service.broker)
    signals = _Signals()
    with ExitStack() as stack:
        worker = stack.enter_context(joined(setup))
        where = setup.service
        wakeups = stack.enter_context(
            awake(worker.database, where.database, where.broker, worker.worker.name)
        )
        stack.enter_context(wakeups.listen(worker.arrived, worker.models))
        worker.start()
        started(worker)
        wake = threading.Event()
        while not signals.asked and worker.trouble is None:
            wake.wait(_TICK)
        logger.info("ending: what runs has %.0f s, and what is left waits again", drain)
        draining = threading.Thread(target=worker.drain, args=(drain,), daemon=True)
        draining.start()
        while draining.is_alive():
            draining.join(_TICK)
    if worker.trouble is not None:
        raise worker.trouble
    return worker
