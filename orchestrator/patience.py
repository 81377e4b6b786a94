"""How long a client of the engine or of the service may take to say what it wants.

One that sends a letter now and then would hold a connection, and the room for an upload, for ever.
So a request's head must be whole within 20 s, and its body within 20 s and a second more for each
500 bytes of it: what Apache's mod_reqtimeout asks for by default.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# s for a head, and for a body before its rate counts; bytes a second of a body
HEAD, BODY, RATE = 20.0, 20.0, 500.0

_REFUSED_HEAD = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_SLOW = "the body comes too slowly; send the request again"


class Patience:
    """ASGI middleware that refuses bodies which do not come on, with 408."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            receive = _hurried(receive)
        await self._app(scope, receive, send)


def _hurried(receive: Receive) -> Receive:
    began: float | None = None
    seen, whole = 0, False

    async def hurried() -> Message:
        nonlocal began, seen, whole
        if whole:
            # What is waited for now is that the client goes away.
            return await receive()
        clock = asyncio.get_running_loop().time
        if began is None:
            began = clock()
        late = began + BODY + seen / RATE
        try:
            message = await asyncio.wait_for(receive(), max(0.0, late - clock()))
        except asyncio.TimeoutError as error:
            # A connection whose body was not read to its end is of no more use.
            raise HTTPException(408, _SLOW, headers={"Connection": "close"}) from error
        seen += len(message.get("body", b""))
        whole = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    return hurried


class _Heads:
    """Closes a connection on which no head comes to its end, over one of uvicorn's protocols.

    uvicorn ends connections on which nothing comes, and waits for ever where something does.
    """

    _waits: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to count."""
        super().connection_made(transport)  # type: ignore[misc]
        self._count(transport)

    def data_received(self, data: bytes) -> None:
        """Count until a head is whole, and again from the first letter of the next."""
        super().data_received(data)  # type: ignore[misc]
        here: Any = self
        if here.cycle is not None and not here.cycle.response_complete:
            self._stop()
        elif self._waits is None:
            self._count(here.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count no more."""
        self._stop()
        super().connection_lost(exc)  # type: ignore[misc]

    def _count(self, transport: Any) -> None:
        self._waits = asyncio.get_running_loop().call_later(HEAD, transport.close)

    def _stop(self) -> None:
        if self._waits is not None:
            self._waits.cancel()
            self._waits = None


def protocol() -> type[asyncio.Protocol]:
    """HTTP as uvicorn speaks it, by httptools where that is installed, for patient servers."""
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as Spoken
    except ImportError:
        from uvicorn.protocols.http.h11_impl import H11Protocol as Spoken  # type: ignore[assignment]

    class Patient(_Heads, Spoken):
        """uvicorn's protocol, whose clients have to come to a point."""

        def handle_websocket_upgrade(self, *event: Any) -> None:
            """Hand the connection over; one whose head is refused there is closed.

            uvicorn answers nothing where websockets cannot read a head (a line over 8,192 bytes,
            over 128 lines), and both ends would wait.
            """
            self._stop()
            super().handle_websocket_upgrade(*event)
            taken_over = getattr(self.transport.get_protocol(), "conn", None)
            if getattr(taken_over, "handshake_exc", None) is not None:
                self.transport.write(_REFUSED_HEAD)
                self.transport.close()

    return Patient
