"""A server's WebSocket as a hint: it may be late, silent, cut or refused, and is never an error.

What the server did is read from its history and queue (client.py); what is heard here only says
sooner when to look, and how far a job is.
"""

from __future__ import annotations

import json
import time
import uuid
from urllib.parse import urlsplit

import websocket

from ..errors import ProtocolError, SpriteworksError
from ..protocol import Event, FeatureFlags, decode_event, encode_event
from .foreign import translated
from .wire import Timeouts, is_loopback

_HELLO = encode_event(FeatureFlags(data={"supports_preview_metadata": True}))


class Listener:
    """One server's WebSocket, opened when first needed and again after it broke.

    `client_id` changes with every connection: a server that still cleans up after the old one
    would make a new one under the same id deaf for ever.
    """

    def __init__(self, url: str, timeouts: Timeouts) -> None:
        self._url = url
        self._timeouts = timeouts
        self._socket: websocket.WebSocket | None = None
        self._delays = timeouts.delays()
        self._due = 0.0
        self.client_id = ""

    @property
    def connected(self) -> bool:
        """Whether there is a socket that has not failed yet."""
        return self._socket is not None

    def open(self) -> None:
        """Connect unless connected; a refusal only leaves us deaf."""
        if self._socket is not None or time.monotonic() < self._due:
            return
        client_id = uuid.uuid4().hex
        try:
            with translated(self._url):
                self._socket = self._connect(client_id)
                self._socket.send(_HELLO)
        except SpriteworksError:
            self._drop()
            return
        self.client_id = client_id
        self._delays = self._timeouts.delays()

    def hear(self, seconds: float) -> Event | None:
        """Return the next event, or None when none came within `seconds` or none can come."""
        self.open()
        if self._socket is None:
            time.sleep(seconds)
            return None
        try:
            with translated(self._url):
                # 0 would make the socket non-blocking, which is another kind of error.
                self._socket.settimeout(max(seconds, 0.001))
                frame = self._socket.recv()
        except SpriteworksError as error:
            if not isinstance(error.__cause__, websocket.WebSocketTimeoutException):
                self._drop()
            return None
        except UnicodeDecodeError:
            # Text that is none is one hint less.
            return None
        return _decode(frame)

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close(timeout=0)
            self._socket = None

    def _connect(self, client_id: str) -> websocket.WebSocket:
        parts = urlsplit(self._url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        return websocket.create_connection(
            f"{scheme}://{parts.netloc}{parts.path}/ws?clientId={client_id}",
            timeout=self._timeouts.connect,
            suppress_origin=True,
            # In Python it takes longer than all the rest; decoding finds the same faults.
            skip_utf8_validation=True,
            http_no_proxy=[parts.hostname] if is_loopback(self._url) else None,
        )

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.shutdown()
            self._socket = None
        self._due = time.monotonic() + next(self._delays)


def _decode(frame: str | bytes) -> Event | None:
    # A frame that cannot be read is one hint less; polling does not depend on it.
    try:
        return decode_event(frame) if frame else None
    except (ProtocolError, json.JSONDecodeError):
        return None
