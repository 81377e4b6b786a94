"""The one place where exceptions of requests, websocket-client and http.client become ours.

`FOREIGN` names every public exception class of the first two; a test fails when a new version
brings one that is not in it. `judge` is the one place that decides whether an error is worth
another try.
"""

from __future__ import annotations

import http.client
import random
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

import requests.exceptions as web
import urllib3.exceptions
import websocket

from ..errors import (
    BadValue,
    ProtocolError,
    ServerError,
    ServerFailed,
    ServerLost,
    ServerUnreachable,
    SpriteworksError,
)
from .bounds import TooLarge

FOREIGN: dict[type[BaseException], type[SpriteworksError]] = {
    # The connection never stood: nothing was sent.
    web.ConnectTimeout: ServerUnreachable,
    web.ProxyError: ServerUnreachable,
    web.SSLError: ServerUnreachable,
    websocket.WebSocketAddressException: ServerUnreachable,
    websocket.WebSocketProxyException: ServerUnreachable,
    # The connection broke, or no answer came: what was sent may have arrived.
    web.RequestException: ServerLost,
    web.ConnectionError: ServerLost,
    web.Timeout: ServerLost,
    web.ReadTimeout: ServerLost,
    web.RetryError: ServerLost,
    web.ChunkedEncodingError: ServerLost,
    websocket.WebSocketException: ServerLost,
    websocket.WebSocketConnectionClosedException: ServerLost,
    websocket.WebSocketTimeoutException: ServerLost,
    # Something answered, and it was not what ComfyUI answers.
    web.HTTPError: ProtocolError,
    web.InvalidJSONError: ProtocolError,
    web.JSONDecodeError: ProtocolError,
    web.ContentDecodingError: ProtocolError,
    web.TooManyRedirects: ProtocolError,
    web.StreamConsumedError: ProtocolError,
    web.UnrewindableBodyError: ProtocolError,
    websocket.WebSocketBadStatusException: ProtocolError,
    websocket.WebSocketProtocolException: ProtocolError,
    websocket.WebSocketPayloadException: ProtocolError,
    # The address itself is wrong.
    web.URLRequired: BadValue,
    web.MissingSchema: BadValue,
    web.InvalidSchema: BadValue,
    web.InvalidURL: BadValue,
    web.InvalidProxyURL: BadValue,
    web.InvalidHeader: BadValue,
}

_ADVICE: dict[type[SpriteworksError], str] = {
    ServerUnreachable: "no server answers at {url}; start one there, or give another address",
    ServerLost: "the server at {url} stopped answering; look at its log, then run this again",
    ProtocolError: "what answers at {url} does not speak ComfyUI's protocol; check the address",
    BadValue: "{url!r} is no server address; write it like http://127.0.0.1:8188",
}

# what libraries and sockets raise
FAULTS = (
    web.RequestException,
    websocket.WebSocketException,
    # where bodies are read without requests in between
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)


class Verdict(Enum):
    """What to do after an error of a request."""

    # no other try will help
    FATAL = "fatal"
    # nothing reached the server: trying again is safe
    RETRY = "retry"
    # it may have taken effect: look before trying again
    DOUBT = "doubt"


def judge(error: SpriteworksError) -> Verdict:
    """Decide what to do after `error`."""
    match error:
        case TooLarge():
            return Verdict.FATAL
        case ServerUnreachable():
            return Verdict.RETRY
        case ServerLost() | ServerFailed() | ProtocolError():
            return Verdict.DOUBT
    return Verdict.FATAL


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
    ours = _never_sent(error) or next(
        (FOREIGN[cls] for cls in type(error).__mro__ if cls in FOREIGN), ServerError
    )
    if ours is ServerError:
        # Sockets and http.client raise their own, for example while a WebSocket opens.
        ours = ServerUnreachable if isinstance(error, ConnectionRefusedError) else ServerLost
    return ours(_ADVICE[ours].format(url=url))


def _never_sent(error: BaseException) -> type[SpriteworksError] | None:
    # requests wraps a refused connection and a broken one in the same class; only the reason
    # inside tells them apart.
    if not isinstance(error, web.ConnectionError) or not error.args:
        return None
    inner = error.args[0]
    reason = getattr(inner, "reason", inner)
    refused = isinstance(reason, urllib3.exceptions.NewConnectionError)
    return ServerUnreachable if refused else None


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Raise what requests, websocket-client and sockets raise inside as one of our errors."""
    try:
        yield
    except FAULTS as error:
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
