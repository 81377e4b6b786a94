"""The log: one line for each request and each thing that happens to a job, for people or as JSON.

No line has a secret, a prompt or a picture. What comes from outside is escaped, so that nothing
begins a line of its own.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import UsageError
from .tracing import Trace, begun

logger = logging.getLogger(__name__)

LEVELS, FORMATS = ("debug", "info", "warning", "error"), ("text", "json")
# What a line may say beside its message: attributes of its record, in their order.
FIELDS = (
    *("request", "job", "server", "key", "trace", "span"),
    *("method", "path", "status", "ms", "code", "node"),
)
_ASKED_OFTEN = frozenset({"/health", "/ready", "/metrics", "/api/v2/health"})
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_LONGEST = 512


@dataclass(kw_only=True, slots=True)
class Visit:
    """One request, for the log and for who comes after."""

    id: str
    trace: Trace
    # the id of the key that it came with
    key: str = ""
    status: int = 0


# Told of each request: (visit, method, path, s since the epoch of its begin and end).
Told = Callable[[Visit, str, str, float, float], None]


def checked(level: str, form: str) -> tuple[str, str]:
    """A level and a form of lines as options name them; raises UsageError for any other."""
    if level not in LEVELS:
        raise UsageError(f"--log-level {level}: it is one of {', '.join(LEVELS)}")
    if form not in FORMATS:
        raise UsageError(f"--log-format {form}: it is {' or '.join(FORMATS)}")
    return level, form


def visit_of(request: Request) -> Visit | None:
    """What is noted of a request; None where no `Journal` is around the application."""
    found: Visit | None = getattr(request.state, "visit", None)
    return found


class Journal:
    """ASGI middleware: a line for each request, an id and a trace for all that it leads to."""

    def __init__(self, app: ASGIApp, told: Told | None = None) -> None:
        self._app = app
        self._told = told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = _visit(scope["headers"])
        scope.setdefault("state", {})["visit"] = visit
        began, clock = time.time(), time.perf_counter()
        id = (b"x-request-id", visit.id.encode("ascii"))

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                visit.status = message["status"]
                message["headers"] = [*message.get("headers", ()), id]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception:
            visit.status = 500
            raise
        finally:
            seconds = time.perf_counter() - clock
            self._note(visit, scope, seconds)
            if self._told is not None:
                self._told(visit, scope["method"], scope["path"], began, began + seconds)

    def _note(self, visit: Visit, scope: Scope, seconds: float) -> None:
        path = scope["path"]
        level = logging.DEBUG if path in _ASKED_OFTEN else logging.INFO
        if logger.isEnabledFor(level):
            fields = {
                "request": visit.id,
                "key": visit.key,
                "trace": visit.trace.trace_id,
                "span": visit.trace.span_id,
                "method": scope["method"],
                "path": path,
                # 0: whoever asked went away before there was an answer
                "status": visit.status,
                "ms": round(1000 * seconds, 1),
            }
            logger.log(level, "request", extra=fields)


def _visit(headers: Iterable[tuple[bytes, bytes]]) -> Visit:
    parents, states, id = [], [], b""
    for name, value in headers:
        if name == b"traceparent":
            parents.append(value.decode("latin-1"))
        elif name == b"tracestate":
            states.append(value.decode("latin-1"))
        elif name == b"x-request-id":
            id = value
    own = id.decode("ascii") if _REQUEST_ID.fullmatch(id) else uuid.uuid4().hex
    return Visit(id=own, trace=begun(parents, states))


# -------------------------------------------------------------------------------- lines


def set_up(level: str, form: str) -> None:
    """Log to stderr, from `level` on, in one of `FORMATS`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # six lines at each start that say nothing of the service
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    threading.excepthook = _thread_ended


def _thread_ended(ended: threading.ExceptHookArgs) -> None:
    # Python's own hook writes lines that are in neither form.
    if ended.exc_value is not None:
        name = ended.thread.name if ended.thread else "a thread"
        told = (ended.exc_type, ended.exc_value, ended.exc_traceback)
        logger.error("%s ended by an error", name, exc_info=told)


class TextLines(logging.Formatter):
    """`TIME LEVEL LOGGER: MESSAGE name=value ...`; an exception's lines are indented behind it."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, timezone.utc)
        head = f"{moment:%Y-%m-%dT%H:%M:%S}.{int(record.msecs):03}Z {record.levelname} "
        told = [f"{name}={_word(value)}" for name, value in _fields(record)]
        line = head + " ".join([f"{record.name}: {escaped(record.getMessage())}", *told])
        if record.exc_info:
            error = self.formatException(record.exc_info)
            line += "".join(f"\n    | {escaped(one)}" for one in error.splitlines())
        return line


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, timezone.utc)
        told: dict[str, Any] = {
            "time": f"{moment:%Y-%m-%dT%H:%M:%S}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **dict(_fields(record)),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        # ASCII: no letter of a value ends a line, whatever reads it.
        return json.dumps(told, ensure_ascii=True, default=str)


def _fields(record: logging.LogRecord) -> list[tuple[str, Any]]:
    given = record.__dict__
    found = [(name, given[name]) for name in FIELDS if given.get(name) not in (None, "")]
    return [(name, one[:_LONGEST] if isinstance(one, str) else one) for name, one in found]


def _word(value: Any) -> str:
    text = escaped(str(value))
    return json.dumps(text) if not text or set(' "=') & set(text) else text


def escaped(text: str) -> str:
    """A text in one line, in which every letter shows."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text
    )
