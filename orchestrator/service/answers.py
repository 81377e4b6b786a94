"""HTTP answers that both faces give: JSON, errors, streams of events."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from fastapi import Request, Response
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse

from ..errors import (
    AccessDenied,
    BadValue,
    GraphError,
    HashMismatch,
    InputError,
    LimitReached,
    NotFound,
    OutputError,
    ProtocolError,
    RangeUnsatisfiable,
    RequestRefused,
    SpriteworksError,
    TooLarge,
    UsageError,
)
from .assets import Content

# made once: `json.dumps` makes another for each call
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
# HTTP statuses of `RequestRefused.code`, where that is not 422.
_STATUS = {
    "idempotency_conflict": 409,
    "deployment_not_ready": 429,
    "queue_full": 429,
    "limit_exceeded": 403,
    "invalid_cursor": 400,
    "invalid_request": 400,
    "invalid_metadata_filter": 400,
    "blob_not_found": 404,
}
# codes of what the framework refuses
_HTTP = {404: "not_found", 405: "method_not_allowed", 408: "too_slow", 413: "too_large"}
# (code, status) of an error's class; the first that fits
_KINDS: tuple[tuple[type[SpriteworksError], str, int], ...] = (
    (AccessDenied, "unauthorized", 401),
    (NotFound, "not_found", 404),
    (HashMismatch, "hash_mismatch", 409),
    (TooLarge, "too_large", 413),
    (RangeUnsatisfiable, "range_not_satisfiable", 416),
    (LimitReached, "queue_full", 429),
    (OutputError, "insufficient_storage", 507),
    (ProtocolError, "invalid_request", 400),
    (InputError, "invalid_file", 422),
    (GraphError, "invalid_workflow", 422),
    (BadValue, "invalid_request", 422),
    (UsageError, "invalid_parameter", 422),
)


def json_answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer of JSON."""
    return Response(
        _encode(body), status, headers=dict(headers or {}), media_type="application/json"
    )


def error_answer(
    status: int,
    code: str,
    message: str,
    *,
    details: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error in the form of Comfy API v2, which both faces use."""
    error: dict[str, Any] = {"code": code, "message": message}
    if details:
        error["details"] = dict(details)
    return json_answer({"error": error}, status, headers)


def answer_to(error: SpriteworksError) -> Response:
    """The answer that an error means."""
    headers: dict[str, str] = {}
    if isinstance(error, RequestRefused):
        if error.retry_after is not None:
            headers["Retry-After"] = _seconds(error.retry_after)
        code, status = meaning(error)
        return error_answer(status, code, str(error), details=error.details, headers=headers)
    if isinstance(error, LimitReached):
        headers["Retry-After"] = _seconds(error.retry_after)
    if isinstance(error, AccessDenied):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, RangeUnsatisfiable):
        headers["Content-Range"] = f"bytes */{error.size}"
    code, status = meaning(error)
    return error_answer(status, code, str(error), headers=headers)


def meaning(error: SpriteworksError) -> tuple[str, int]:
    """The (code, HTTP status) of an error."""
    if isinstance(error, RequestRefused):
        return error.code, _STATUS.get(error.code, 422)
    for kind, code, status in _KINDS:
        if isinstance(error, kind):
            return code, status
    return "internal_error", 500


def http_answer(error: HTTPException) -> Response:
    """The answer to what the framework refuses: an unknown path, a method, a body too large."""
    code = _HTTP.get(error.status_code, "invalid_request")
    return error_answer(error.status_code, code, str(error.detail), headers=error.headers)


def refusal(status: int, text: str) -> Response:
    """The answer of the guard."""
    code = {403: "forbidden", 413: "too_large", 421: "forbidden_host"}.get(status, "forbidden")
    return error_answer(status, code, text)


def _seconds(value: float) -> str:
    # whole ones, as HTTP has it
    return str(max(1, math.ceil(value)))


def moment(seconds: float | None) -> str | None:
    """A moment as RFC 3339 has it, in UTC to the millisecond."""
    if seconds is None:
        return None
    at = datetime.fromtimestamp(seconds, timezone.utc)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def content_answer(opened: Content) -> Response:
    """The answer with the bytes of a file, or a part of them."""
    return StreamingResponse(_chunks(opened), opened.status, headers=opened.headers())


def _chunks(opened: Content) -> Iterator[bytes]:
    with opened.chunks as chunks:
        yield from chunks


def origin_of(request: Request) -> str:
    """Scheme and host of the service as the client reached it."""
    return f"{request.url.scheme}://{request.url.netloc}"


def frame(kind: str, data: Any, id: int | None = None) -> bytes:
    """One server-sent event."""
    head = "" if id is None else f"id: {id}\n"
    text = _encode(data)
    return f"{head}event: {kind}\ndata: {text}\n\n".encode()
