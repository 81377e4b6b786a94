"""Streams of server-sent events: what happens to one request, in a face's own form."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

from starlette.responses import StreamingResponse

from .events import Event
from .intake import Caller
from .service import Service
from .views import Status

# s of silence after which a comment says that the line stands; SDKs give up after 45
HEARTBEAT = 15.0
# s between two looks at the place in the queue
_PLACES = 1.0

# What an event is in a face's form; b"" where the face does not tell of it.
Form: TypeAlias = Callable[[Event], Awaitable[bytes]]
# What a waiting request is told when its place has changed.
Moved: TypeAlias = Callable[[Status, int], bytes]


def last_event_id(text: str | None) -> int | None:
    """The id of a `Last-Event-ID` header; None where there is none, or none of ours."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 20 else None


def stream(
    service: Service,
    caller: Caller,
    id: str,
    after: int | None,
    form: Form,
    moved: Moved,
    last: bytes = b"",
) -> StreamingResponse:
    """An answer that goes on until the request has come to its end; `last` is behind all."""
    return StreamingResponse(
        _frames(service, caller, id, after, form, moved, last),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def _frames(
    service: Service,
    caller: Caller,
    id: str,
    after: int | None,
    form: Form,
    moved: Moved,
    last: bytes,
) -> AsyncIterator[bytes]:
    # The headers go at once, also where nothing is to be told for long.
    yield b": watching\n\n"
    clock, place = asyncio.get_running_loop().time, None
    quiet = clock()
    with service.watch(id, after) as watcher:
        while not watcher.ended:
            event = await watcher.next(_PLACES)
            if service.hub.is_closed:
                # Without `last`: it is not over, and whoever comes back is told the rest.
                return
            text = await form(event) if event is not None else b""
            if event is None and not watcher.ended:
                view = service.glimpse(caller, id)
                now = view.queue_position if view is not None else None
                if view is not None and now is not None and place not in (None, now):
                    text = moved(view.status, now)
                elif clock() - quiet >= HEARTBEAT:
                    text = b": still here\n\n"
                place = now
            if text:
                quiet = clock()
                yield text
    if last:
        yield last
