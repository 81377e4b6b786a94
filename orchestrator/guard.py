"""What is refused before any route is reached: foreign websites, foreign names, bodies too large.

The embedded engine and the service stand behind it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import TypeAlias
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .addresses import is_loopback, name_of

logger = logging.getLogger(__name__)

# From an HTTP status and a sentence to an answer.
Refuse: TypeAlias = Callable[[int, str], Response]


def is_foreign(host: str, origin: str) -> bool:
    """Say whether a browser sent a request to `host` for a page of another site (`origin`).

    A browser lets any website post to a server on this machine; ComfyUI compares the two headers
    where the host is a loopback address, we do so always. A port is compared only where both name
    one.
    """
    try:
        here, there = urlsplit(f"//{host.lower()}"), urlsplit(origin.lower())
        if not here.hostname or not there.hostname:
            # "null" is the origin of a sandboxed page
            return origin.lower() == "null"
        if here.hostname != there.hostname:
            return True
        return None not in (here.port, there.port) and here.port != there.port
    except ValueError:
        # no browser sends such a name or port
        return True


def _plain(status: int, text: str) -> Response:
    return PlainTextResponse(text, status)


class Guard:
    """ASGI middleware."""

    def __init__(
        self,
        app: ASGIApp,
        max_body: int,
        *,
        loopback_only: bool = False,
        names: Collection[str] = (),
        refuse: Refuse = _plain,
    ) -> None:
        """`max_body` in bytes; with `loopback_only` the Host must name this machine.

        `names` are further names that it may have then.
        """
        self._app = app
        self._max_body = max_body
        self._loopback_only = loopback_only
        self._names = frozenset(map(name_of, names)) - {""}
        self._answer = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if len(headers.getlist("host")) > 1:
            # whoever looks at one of them may not have looked at the other
            await self._refuse(scope, receive, send, 400, "This request has several Host headers.")
            return
        origin = headers.get("origin", "")
        # A browser says so itself where it sends no Origin: for an <img> or a form of another site.
        cross_site = headers.get("sec-fetch-site") == "cross-site"
        host = headers.get("host", "")
        if cross_site or is_foreign(host, origin):
            logger.warning("refused a request of %r", origin or "another site")
            await self._refuse(scope, receive, send, 403, "This request comes from another site.")
        elif self._loopback_only and not self._is_ours(host):
            logger.warning("refused a request to the host %r", host[:200])
            text = "This server answers to names of this machine only, such as localhost."
            await self._refuse(scope, receive, send, 421, text)
        elif _length(headers) > self._max_body:
            text = f"The body is larger than {self._max_body} bytes."
            await self._refuse(scope, receive, send, 413, text)
        else:
            await self._app(scope, self._limited(receive), send)

    def _is_ours(self, host: str) -> bool:
        return is_loopback(host) or name_of(host) in self._names

    async def _refuse(
        self, scope: Scope, receive: Receive, send: Send, status: int, text: str
    ) -> None:
        if scope["type"] == "websocket":
            # closing before accepting is an HTTP 403
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._answer(status, text)(scope, receive, send)

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


def _length(headers: Headers) -> int:
    """The length that a request says it has; 0 where it says none that can be read."""
    try:
        return int(headers.get("content-length") or 0)
    except ValueError:
        return 0
