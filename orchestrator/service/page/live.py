"""What goes on now, as a part of a page, and a stream of it as server-sent events.

Each event is the whole part. It is made from memory a few times a second and sent when it has
changed, so that a slow browser misses states in between and never the last one. The record is
asked for what was made last only when something has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from ...errors import AccessDenied
from ..intake import Caller
from ..service import Service
from ..sessions import proof_of
from ..streams import HEARTBEAT
from ..views import RequestView
from .cards import job_cards
from .rendering import render

# s between two looks, and between two checks of the session
_LOOK, _CHECK = 0.35, 5.0
# requests that are shown while they wait, and after they have ended
_WAITING, _ENDED = 12, 12


class Live:
    """The part of the page that shows what a caller's requests do."""

    def __init__(self, service: Service, caller: Caller, token: str) -> None:
        self._service, self._caller, self._token = service, caller, token
        self._ended: list[RequestView] = []
        # the requests that were alive when the record was asked last
        self._were: frozenset[str] | None = None
        self._marks = -1

    def render(self) -> str:
        """It, as it is now. It may ask the record."""
        service, caller = self._service, self._caller
        live = service.live(caller)
        picked = service.marks.count_picked(caller.owner)
        now = frozenset(view.id for view in live)
        if self._were is None or self._were - now or self._marks != picked:
            found, _ = service.page(caller, limit=_ENDED + len(live[:_WAITING]), outputs=True)
            self._ended = [view for view in found if view.status.is_final][:_ENDED]
            self._were, self._marks = now, picked
        self._were |= now
        shown = [service.glimpse(caller, view.id) or view for view in live[:_WAITING]]
        return render(
            "live",
            going=job_cards(service, caller, shown),
            more=len(live) - len(shown),
            waiting=sum(view.started_at is None for view in live),
            running=sum(view.started_at is not None for view in live),
            ended=job_cards(service, caller, self._ended),
            proof=proof_of(self._token),
        )


async def events(service: Service, caller: Caller, token: str) -> AsyncIterator[bytes]:
    """The stream; it ends with the session, and with the service."""
    live, last = Live(service, caller, token), ""
    clock = asyncio.get_running_loop().time
    checked = said = clock()
    yield b": watching\n\n"
    while not service.hub.is_closed:
        text = await asyncio.to_thread(live.render)
        if text != last:
            last, said = text, clock()
            yield _event(text)
        elif clock() - said >= HEARTBEAT:
            said = clock()
            yield b": still here\n\n"
        await asyncio.sleep(_LOOK)
        if clock() - checked >= _CHECK:
            checked = clock()
            try:
                caller = await service.admit_session(token)
            except AccessDenied:
                return


def _event(text: str) -> bytes:
    # Each line of a text is a line of the event, whatever ends it.
    lines: list[Any] = [f"data: {line}\n" for line in text.splitlines() if line.strip()]
    return ("".join(lines) + "\n").encode()
