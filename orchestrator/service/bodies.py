"""What comes in requests: strict JSON, keys, and who asks."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from ..errors import ProtocolError, RequestRefused
from ..protocol import decode_body
from .intake import Caller
from .journal import visit_of
from .requests import Once
from .service import Service

# bytes of a body that is JSON: two pictures in base64, and what stands around them
MOST_JSON = 64 * 1024 * 1024
# Bodies above so many bytes are decoded beside the event loop.
_LARGE = 64 * 1024
_IDEMPOTENCY_KEY = re.compile(r"[\x20-\x7e]{1,255}")


class StrictRequest(Request):
    """A request whose JSON `decode_body` reads, and whose body is no larger than JSON may be."""

    async def body(self) -> bytes:
        """The body; raises an HTTP 413 as soon as it is too large."""
        if not hasattr(self, "_body"):
            chunks, size = [], 0
            async for chunk in self.stream():
                size += len(chunk)
                if size > MOST_JSON:
                    raise HTTPException(413, f"a body of JSON has {MOST_JSON:,} bytes at most")
                chunks.append(chunk)
            self._body = b"".join(chunks)
        return self._body

    async def json(self) -> Any:
        """The JSON of the body; raises an HTTP 400 with the reason where it is none."""
        if not hasattr(self, "_json"):
            body = await self.body()
            try:
                large = len(body) > _LARGE
                self._json = (
                    await asyncio.to_thread(decode_body, body) if large else decode_body(body)
                )
            except ProtocolError as error:
                raise HTTPException(400, str(error)) from error
        return self._json


class StrictRoute(APIRoute):
    """A route whose requests are `StrictRequest`s."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler that FastAPI makes, given another kind of request."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(StrictRequest(request.scope, request.receive))

        return strict


def service_of(request: Request) -> Service:
    """The service behind the application."""
    service: Service = request.app.state.service
    return service


async def caller_of(request: Request) -> Caller:
    """Who asks: by `Authorization: Bearer KEY`, or `X-API-Key: KEY`."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    given = secret.strip() if scheme.lower() == "bearer" else None
    caller = await service_of(request).admit(given or request.headers.get("x-api-key"))
    visit = visit_of(request)
    if visit is None:
        return caller
    visit.key = caller.owner
    return replace(caller, request=visit.id, trace=visit.trace)


def once_of(request: Request, body: Any) -> Once | None:
    """The idempotency key of a request and what it came with; None without a key."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise RequestRefused(
            "invalid_request", "an Idempotency-Key has 1 to 255 printable ASCII characters"
        )
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    path = f"{request.method} {request.url.path}\n{text}"
    return Once(key=key, fingerprint=hashlib.sha256(path.encode()).hexdigest())
