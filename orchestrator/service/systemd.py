"""What a process tells systemd that was started as `Type=notify`; elsewhere nothing happens.

The protocol is a datagram of `NAME=value` lines to the socket that NOTIFY_SOCKET names
(sd_notify(3)), and with WatchdogSec= a beat within each WATCHDOG_USEC (sd_watchdog_enabled(3)).
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

logger = logging.getLogger(__name__)

# systemd advises to beat at half of the time that it waits.
_SHARE = 0.5


class Systemd:
    """The service manager that started this process, or none. Safe for threads; never raises."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        # s between two beats; None where nobody waits for any
        self.period = _period(environment) if self._address else None

    def ready(self, status: str) -> None:
        """Say that it does its work from now on; `status` is for `systemctl status`."""
        self._tell(f"READY=1\nSTATUS={_line(status)}")

    def stopping(self, status: str) -> None:
        """Say that it has begun to end."""
        self._tell(f"STOPPING=1\nSTATUS={_line(status)}")

    def beat(self) -> None:
        """Say that it is not stuck."""
        self._tell("WATCHDOG=1")

    @contextmanager
    def beating(self, is_well: Callable[[], bool]) -> Iterator[None]:
        """Beat from a thread for as long as `is_well`, until the block ends."""
        if self.period is None:
            yield
            return
        over = threading.Event()
        thread = threading.Thread(
            target=self._beat_until, args=(over, is_well, self.period), daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _beat_until(
        self, over: threading.Event, is_well: Callable[[], bool], period: float
    ) -> None:
        while not over.wait(period):
            if is_well():
                self.beat()

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        # A name that begins with "@" is no file but one of Linux' abstract names.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
                # A manager that does not read must not hold up the work.
                connection.setblocking(False)
                connection.sendto(text.encode(), address)
        except (OSError, AttributeError) as error:
            # Windows' sockets have no AF_UNIX for datagrams.
            logger.warning("systemd at %s cannot be told: %s", self._address, error)


def _period(environment: Mapping[str, str]) -> float | None:
    """The s between two beats that the manager waits for, of this process and no other."""
    try:
        waits = int(environment.get("WATCHDOG_USEC", "0"))
        meant = int(environment.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return None
    return waits / 1e6 * _SHARE if waits > 0 and meant == os.getpid() else None


def _line(text: str) -> str:
    return " ".join(text.split())
