"""The one place where exceptions of requests, websocket-client and http.client become ours.

Which become what is said in `libraries`, which is loaded when there is one. `judge` is the one
place that decides whether an error is worth another try.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

from ..errors import (
    BadValue,
    ProtocolError,
    ServerError,
    ServerFailed,
    ServerLost,
    ServerUnreachable,
    SpriteworksError,
)
from .bounds import AnswerTooLarge

_ADVICE: dict[type[SpriteworksError], str] = {
    ServerUnreachable: "no server answers at {url}; start one there, or give another address",
    ServerLost: "the server at {url} stopped answering; look at its log, then run this again",
    ProtocolError: "what answers at {url} does not speak ComfyUI's protocol; check the address",
    BadValue: "{url!r} is no server address; write it like http://127.0.0.1:8188",
}


class Reaction(Enum):
    """What to do after an error of a request."""

    # no other try will help
    FATAL = "fatal"
    # nothing reached the server: trying again is safe
    RETRY = "retry"
    # it may have taken effect: look before trying again
    DOUBT = "doubt"


def judge(error: SpriteworksError) -> Reaction:
    """Decide what to do after `error`."""
    match error:
        case AnswerTooLarge():
            return Reaction.FATAL
        case ServerUnreachable():
            return Reaction.RETRY
        case ServerLost() | ServerFailed() | ProtocolError():
            return Reaction.DOUBT
    return Reaction.FATAL


def backoff(first: float = 0.2, last: float = 5.0) -> Iterator[float]:
    """Yield delays in s without end: doubling from `first` up to `last`, each 50 to 100% of it.

    The random share keeps clients that lost the same server from coming back all at once.
    """
    delay = first
    while True:
        yield delay * random.uniform(0.5, 1.0)
        delay = min(2 * delay, last)


def translate(error: BaseException, url: str) -> SpriteworksError:
    """Turn an exception of requests, websocket-client or a socket into ours; never raises."""
    from .libraries import FOREIGN, never_sent

    ours = never_sent(error) or next(
        (FOREIGN[cls] for cls in type(error).__mro__ if cls in FOREIGN), ServerError
    )
    if ours is ServerError:
        # Sockets and http.client raise their own, for example while a WebSocket opens.
        ours = ServerUnreachable if isinstance(error, ConnectionRefusedError) else ServerLost
    return ours(_ADVICE[ours].format(url=url))


def faults() -> tuple[type[BaseException], ...]:
    """What libraries and sockets raise; asked for once something was raised."""
    from .libraries import FAULTS

    return FAULTS


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Raise what requests, websocket-client and sockets raise inside as one of our errors."""
    try:
        yield
    except faults() as error:
        raise translate(error, url) from error


@contextmanager
def connecting(url: str) -> Iterator[None]:
    """Do the same while a connection is opened: whatever fails, nothing was sent."""
    try:
        yield
    except OSError as error:
        raise ServerUnreachable(_ADVICE[ServerUnreachable].format(url=url)) from error
    except UnicodeError as error:
        # A host name that no name server would take.
        raise BadValue(_ADVICE[BadValue].format(url=url)) from error
