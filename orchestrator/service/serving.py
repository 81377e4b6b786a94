"""Runs the service until somebody stops the process."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from types import FrameType

import uvicorn
from fastapi import FastAPI

from ..addresses import is_loopback, listen, url_of
from ..errors import ServerStartFailed, UsageError
from ..patience import protocol
from . import telemetry
from .app import create_app
from .journal import checked, set_up
from .opening import Setup, opened
from .service import Service
from .systemd import Systemd

logger = logging.getLogger(__name__)

# s that open streams have to end, when the service does
_GOODBYE = 1


def run(
    setup: Setup, host: str, port: int, log_level: str = "info", log_format: str = "text"
) -> None:
    """Serve until SIGINT or SIGTERM; a second one ends the process at once.

    Raises UsageError where it would listen for other machines and no key was made,
    ServerStartFailed where the port is taken, BatchBusy where another service has the folder.
    """
    set_up(*checked(log_level, log_format))
    with telemetry.opened(os.environ) as told, opened(setup) as service:
        _refuse_strangers(service, host)
        service.when_ended(told.job)
        with listen(host, port, "the service") as listener:
            app = create_app(service, loopback_only=is_loopback(host), told=told.request)
            server = _Server(app, service, listener, host, log_level)
            server.run(sockets=[listener])
            if not server.started:
                raise ServerStartFailed("the service did not start; its log above says why")
            # Whoever stops by a signal is told by the exit code, as a shell expects it.
            if server.number:
                raise SystemExit(128 + server.number)


def _refuse_strangers(service: Service, host: str) -> None:
    if not is_loopback(host) and not service.keys.any():
        raise UsageError(
            f"--host {host} lets other machines in, and no key was made that they would need; make "
            "one with `spriteworks keys create NAME`, or leave out --host"
        )


class _Server(uvicorn.Server):
    """Ends in good order at the first signal, and at once at the second."""

    def __init__(
        self, app: FastAPI, service: Service, listener: socket.socket, host: str, log_level: str
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                log_level=log_level,
                access_log=False,
                timeout_graceful_shutdown=_GOODBYE,
                # uvloop and httptools where they are installed
                loop="auto",
                http=protocol(),
                server_header=False,
            )
        )
        self.number = 0
        self._service = service
        self._url = url_of(listener, host)
        self._systemd = Systemd()
        self._beating: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and say where."""
        await super().startup(sockets=sockets)
        if self.started:
            print(f"serving on {self._url}", file=sys.stderr, flush=True)
            self._systemd.ready(f"serving on {self._url}")
            self._beating = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        # From the loop that answers: where that is stuck, no beat comes.
        while self._systemd.period is not None:
            self._systemd.beat()
            await asyncio.sleep(self._systemd.period)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End; first whoever waits for a job gets an answer, and streams their end."""
        if self._beating is not None:
            self._beating.cancel()
        self._service.hub.close()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end."""
        if self.number:
            # Whatever is open is adopted by the next start.
            os._exit(128 + sig)
        self.number = sig
        self._systemd.stopping("what runs has 3 s to end")
        logger.info("ending: what runs has 3 s, and what is left is taken up by the next start")
        self.should_exit = True
