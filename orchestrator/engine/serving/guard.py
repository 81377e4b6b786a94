"""Two refusals before any route is reached: requests of foreign websites, and bodies too large."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)


def is_foreign(host: str, origin: str) -> bool:
    """Say whether a browser sent a request to `host` for a page of another site (`origin`).

    A browser lets any website post to a server on this machine; ComfyUI compares the two headers
    where the host is a loopback address, we do so always. A port is compared only where both name
    one.
    """
    here, there = urlsplit(f"//{host.lower()}"), urlsplit(origin.lower())
    if not here.hostname or not there.hostname:
        # "null" is the origin of a sandboxed page
        return origin.lower() == "null"
    if here.hostname != there.hostname:
        return True
    return None not in (here.port, there.port) and here.port != there.port


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, max_body: int) -> None:
        """`max_body` in bytes."""
        self._app = app
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin", "")
        # A browser says so itself where it sends no Origin: for an <img> or a form of another site.
        cross_site = headers.get("sec-fetch-site") == "cross-site"
        if cross_site or is_foreign(headers.get("host", ""), origin):
            logger.warning("refused a request of %s", origin or "another site")
            await _refuse(scope, receive, send)
        elif int(headers.get("content-length") or 0) > self._max_body:
            text = f"The body is larger than {self._max_body} bytes."
            await PlainTextResponse(text, 413)(scope, receive, send)
        else:
            await self._app(scope, self._limited(receive), send)

    def _limited(self, receive: Receive) -> Receive:
        seen = 0

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                # a body may also come in pieces without saying how many
                seen += len(message.get("body", b""))
                if seen > self._max_body:
                    raise HTTPException(413, f"The body is larger than {self._max_body} bytes.")
            return message

        return limited


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        # closing before accepting is an HTTP 403
        await send({"type": "websocket.close", "code": 1008})
    else:
        await PlainTextResponse("This request comes from another site.", 403)(scope, receive, send)
