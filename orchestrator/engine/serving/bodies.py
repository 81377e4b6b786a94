"""JSON in and out of requests."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import Request, Response

from ...errors import ProtocolError
from ...protocol import decode_body, encode_json

# Bodies above so many bytes are decoded beside the event loop.
_LARGE = 64 * 1024


def json_answer(body: Any, status: int = 200) -> Response:
    """An answer of JSON; not FastAPI's own, which fails at the NaN that a node may show."""
    return Response(encode_json(body), status, media_type="application/json")


async def json_object(request: Request) -> dict[str, Any]:
    """The JSON object of a request; raises ProtocolError where it is something else."""
    content = await request.body() or b"{}"
    if len(content) > _LARGE:
        body = await asyncio.to_thread(decode_body, content)
    else:
        body = decode_body(content)
    if not isinstance(body, dict):
        raise ProtocolError("the body is no JSON object")
    return body
