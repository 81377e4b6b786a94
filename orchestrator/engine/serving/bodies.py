"""JSON in and out of requests."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request, Response

from ...errors import ProtocolError


def json_answer(body: Any, status: int = 200) -> Response:
    """An answer of JSON; not FastAPI's own, which refuses the NaN that a graph may hold."""
    return Response(json.dumps(body), status, media_type="application/json")


async def json_object(request: Request) -> dict[str, Any]:
    """The JSON object of a request; raises ProtocolError where it is something else."""
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError as error:
        raise ProtocolError(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise ProtocolError("the body is no JSON object")
    return body
