"""Runs the ASGI application with uvicorn until somebody stops the process."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from ...addresses import url_of
from ...patience import protocol

# Clients hold their WebSockets open for ever; a stop does not wait longer for them, in seconds.
_GOODBYE = 1
# uploads by WebSocket do not exist; messages of clients are small
_MAX_MESSAGE = 1024 * 1024


class _Server(uvicorn.Server):
    """Says where it listens once it does, and stops in good order when `is_over` says so."""

    def __init__(
        self,
        config: uvicorn.Config,
        url: str,
        is_over: Callable[[], bool],
        listens: Callable[[str], None],
    ) -> None:
        super().__init__(config)
        self.url = url
        self.is_over = is_over
        self.listens = listens

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self.listens(self.url)
            print(json.dumps({"event": "listening", "url": self.url}), flush=True)

    async def on_tick(self, counter: int) -> bool:
        # uvicorn asks ten times a second whether to stop
        return self.is_over() or await super().on_tick(counter)


def serve(
    app: FastAPI,
    listener: socket.socket,
    host: str,
    log_level: str,
    is_over: Callable[[], bool],
    listens: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve on a socket that was bound for `host`, until SIGINT, SIGTERM or `is_over`.

    `listens` is told the address once somebody can connect.
    """
    config = uvicorn.Config(
        app,
        log_level=log_level,
        log_config=None,
        access_log=False,
        http=protocol(),
        ws_max_size=_MAX_MESSAGE,
        # Simple clients answer pings only while they read; ComfyUI sends none either.
        ws_ping_interval=None,
        timeout_graceful_shutdown=_GOODBYE,
    )
    server = _Server(config, url_of(listener, host), is_over, listens)
    # uvicorn stops in good order and then raises the signal again, for whoever handled it before;
    # without this, that would end the process before it has tidied up.
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if (number := getattr(signal, name, None)) is not None:
            signal.signal(number, _end)
    server.run(sockets=[listener])


def _end(number: int, frame: object) -> None:
    raise SystemExit(0)
