"""Exceptions of requests, urllib3, websocket-client and http.client, and which of ours they are.

`FOREIGN` names every public exception class of the first and the third; a test fails when a new
version brings one that is not in it. Loading requests takes 0.1 s, which a command on a server of
this machine spares where nothing goes wrong.
"""

from __future__ import annotations

import http.client

import requests.exceptions as web
import urllib3.exceptions
import websocket

from ..errors import (
    BadValue,
    ProtocolError,
    ServerLost,
    ServerUnreachable,
    SpriteworksError,
)

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

# what libraries and sockets raise
FAULTS = (
    web.RequestException,
    websocket.WebSocketException,
    # where bodies are read without requests in between
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)


def never_sent(error: BaseException) -> type[SpriteworksError] | None:
    """ServerUnreachable where nothing was sent; None where that cannot be told from the error."""
    # requests wraps a refused connection and a broken one in the same class; only the reason
    # inside tells them apart.
    if not isinstance(error, web.ConnectionError) or not error.args:
        return None
    inner = error.args[0]
    reason = getattr(inner, "reason", inner)
    refused = isinstance(reason, urllib3.exceptions.NewConnectionError)
    return ServerUnreachable if refused else None
