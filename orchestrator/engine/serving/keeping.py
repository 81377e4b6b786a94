"""An engine that outlives the command that started it: who may use it, and when it ends.

It answers nobody without its token. It ends when it was idle for as long as it is to be kept, when
it is told to, and when its note is gone, for then no command can find it any more.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import math
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import psutil
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ...errors import ProtocolError
from ...local.kept import ATTACH, STATUS, STOP, Note, Place
from .bodies import json_answer, json_object

logger = logging.getLogger(__name__)

# s between two looks whether the note is still there
_PACE = 1.0


@dataclass(frozen=True, kw_only=True)
class Order:
    """What an engine is told that is to be kept."""

    # its note, but for its address
    note: Note
    # s without work after which it ends
    keep: float

    @classmethod
    def from_json(cls, data: Any) -> Order:
        """Read what `local.warm` writes; the process is this one."""
        own = psutil.Process()
        named = {**data["note"], "pid": own.pid, "born": own.create_time()}
        return cls(note=Note.from_json(named), keep=float(data["keep"]))


class Keeper:
    """Counts who uses the engine, and says when it is over. Lives in the server's event loop."""

    def __init__(
        self,
        order: Order,
        jobs: Callable[[], int],
        place: Place | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`jobs` says how many wait or run."""
        self.token = order.note.token
        self.keep = order.keep
        # commands that use it, and requests and WebSockets that are open, theirs among them
        self.commands = self.open = 0
        # set when it ends
        self.ending = asyncio.Event()
        self._note = order.note
        self._jobs = jobs
        self._place = place or Place()
        self._clock = clock
        self._since = self._looked = clock()

    @property
    def idle(self) -> float:
        """For how many s nobody has used it."""
        return 0.0 if self._is_used() else self._clock() - self._since

    def listens(self, url: str) -> None:
        """Write the note: from now on commands find it. Raises OutputError."""
        self._note = Note(**{**vars(self._note), "url": url})
        self._place.write(self._note)

    def touch(self) -> None:
        """Count the idle time from now on."""
        self._since = self._clock()

    def is_over(self) -> bool:
        """Say whether it is to end; from then on nobody finds it or may begin to use it."""
        if self.ending.is_set():
            return True
        if self._is_used():
            self.touch()
        elif self.idle >= self.keep:
            self.end(f"idle for {self.keep:g} s")
        elif not self._is_noted():
            self.end("its note is gone")
        return self.ending.is_set()

    def end(self, reason: str) -> None:
        """Let it end; only the first reason counts."""
        if not self.ending.is_set():
            logger.info("the engine ends: %s", reason)
            self._place.remove(self.token)
            self.ending.set()

    def status(self) -> dict[str, Any]:
        """What `engine status` shows of it, times in s and memory in bytes."""
        return {
            "commands": self.commands,
            "jobs": self._jobs(),
            "idle_s": round(self.idle, 1),
            "keep_s": self.keep,
            "memory": psutil.Process(os.getpid()).memory_info().rss,
        }

    def is_busy(self) -> bool:
        """Say whether a command uses it, or a job runs or waits."""
        return self.commands > 0 or self._jobs() > 0

    def _is_used(self) -> bool:
        return self.open > 0 or self.is_busy()

    def _is_noted(self) -> bool:
        now = self._clock()
        if now - self._looked < _PACE:
            return True
        self._looked = now
        note = self._place.read()
        return note is not None and note.token == self.token


class TokenGuard:
    """ASGI middleware: nothing passes without the token, and what passes counts as use."""

    def __init__(self, app: ASGIApp, keeper: Keeper) -> None:
        self._app = app
        self._keeper = keeper
        self._wanted = f"Bearer {keeper.token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif not hmac.compare_digest(_given(scope), self._wanted):
            await self._refuse(scope, receive, send)
        elif scope["path"] == STATUS:
            # Looking at it does not keep it.
            await self._app(scope, receive, send)
        else:
            self._keeper.open += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._keeper.open -= 1
                self._keeper.touch()

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        logger.warning("refused a request without the token of this engine")
        if scope["type"] == "websocket":
            # closing before accepting is an HTTP 403
            await send({"type": "websocket.close", "code": 1008})
            return
        text = "This engine is kept for the commands of the user who started it."
        answer = PlainTextResponse(text, 401, {"WWW-Authenticate": "Bearer"})
        await answer(scope, receive, send)


def _given(scope: Scope) -> bytes:
    return Headers(scope=scope).get("authorization", "").encode("latin-1", "replace")


def add_keeping(app: FastAPI, keeper: Keeper) -> None:
    """Give an engine's application the routes of a kept engine, and shut it to everybody else."""

    @app.get(STATUS)
    async def status() -> Response:
        return json_answer(keeper.status())

    @app.get(ATTACH)
    async def attach(keep: float | None = None) -> Response:
        if keeper.ending.is_set():
            return PlainTextResponse("This engine ends.", 503)
        if keep is not None and 0.0 < keep < math.inf:
            keeper.keep = keep
        return StreamingResponse(_attached(keeper), media_type="application/json")

    @app.post(STOP)
    async def stop(request: Request) -> Response:
        try:
            force = (await json_object(request)).get("force") is True
        except ProtocolError as error:
            return PlainTextResponse(str(error), 400)
        if keeper.is_busy() and not force:
            return json_answer(keeper.status(), 409)
        keeper.end("told to")
        return json_answer(keeper.status())

    app.add_middleware(TokenGuard, keeper=keeper)


async def _attached(keeper: Keeper) -> AsyncIterator[str]:
    """One line, and then nothing for as long as the command is there."""
    keeper.commands += 1
    try:
        yield json.dumps(keeper.status()) + "\n"
        await keeper.ending.wait()
    finally:
        keeper.commands -= 1
        keeper.touch()
