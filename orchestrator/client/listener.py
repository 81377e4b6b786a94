"""A server's WebSocket as a hint: it may be late, silent, cut or refused, and is never an error.

What the server did is read from its history and queue (client.py); what is heard here only says
sooner when to look, and how far a job is.
"""

from __future__ import annotations

import json
import ssl
import time
import uuid
from collections import deque
from contextlib import suppress
from urllib.parse import urlsplit

import websocket

from ..errors import ProtocolError, SpriteworksError
from ..protocol import Event, FeatureFlags, decode_event, encode_event
from .foreign import translated
from .frames import Frames, Opcode
from .wire import Timeouts, is_loopback

_HELLO = encode_event(FeatureFlags(data={"supports_preview_metadata": True}))
# Bytes read at once. A preview takes a few such reads.
_READ = 1 << 16
# Reads after which a server that never pauses is listened to again.
_READS = 64
# Raised by a read that would have to wait.
_NOTHING_YET = (BlockingIOError, TimeoutError, ssl.SSLWantReadError)


class Listener:
    """One server's WebSocket, opened when first needed and again after it broke.

    websocket-client opens it and answers; what the server says is read and cut here, all that has
    arrived at once. `client_id` changes with every connection: a server that still cleans up after
    the old one would make a new one under the same id deaf for ever.
    """

    def __init__(self, url: str, timeouts: Timeouts) -> None:
        self._url = url
        self._timeouts = timeouts
        self._socket: websocket.WebSocket | None = None
        self._delays = timeouts.delays()
        self._due = 0.0
        self._frames = Frames()
        # what was read and not heard yet
        self._waiting: deque[str | bytes] = deque()
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
        self._frames = Frames()
        self.client_id = client_id
        self._delays = self._timeouts.delays()

    def hear(self, seconds: float, *, gather: float = 0.0) -> Event | None:
        """Return the next event, or None when none came within `seconds` or none can come.

        After the first word the server is left to speak for `gather` s, so that one awakening
        hears all of it; what is heard is so much later.
        """
        until = time.monotonic() + seconds
        # A large message takes several reads.
        while not self._waiting and (left := until - time.monotonic()) > 0:
            self._read(left, gather)
        return _decode(self._waiting.popleft()) if self._waiting else None

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close(timeout=0)
            self._socket = None
        self._waiting.clear()

    def _read(self, seconds: float, gather: float) -> None:
        self.open()
        if self._socket is None:
            time.sleep(seconds)
            return
        try:
            with translated(self._url):
                self._take_in(self._socket, seconds, gather)
        except SpriteworksError:
            self._drop()

    def _take_in(self, ours: websocket.WebSocket, seconds: float, gather: float) -> None:
        """Read what there is, after waiting for the first of it."""
        sock = ours.sock
        try:
            # 0 would not wait at all.
            sock.settimeout(max(seconds, 0.001))
            self._cut(ours, sock.recv(_READ))
            if gather:
                time.sleep(gather)
                sock.settimeout(0)
                for _ in range(_READS):
                    self._cut(ours, sock.recv(_READ))
        except _NOTHING_YET:
            return
        finally:
            sock.settimeout(self._timeouts.connect)

    def _cut(self, ours: websocket.WebSocket, data: bytes) -> None:
        for opcode, payload in self._frames.feed(data):
            if opcode == Opcode.TEXT:
                # Text that is none is one hint less.
                with suppress(UnicodeDecodeError):
                    self._waiting.append(payload.decode())
            elif opcode == Opcode.BINARY:
                self._waiting.append(payload)
            elif opcode == Opcode.PING:
                ours.pong(payload)
            elif opcode == Opcode.CLOSE:
                raise ConnectionAbortedError("the server has closed the WebSocket")
        if not data:
            raise ConnectionAbortedError("the WebSocket has ended")

    def _connect(self, client_id: str) -> websocket.WebSocket:
        parts = urlsplit(self._url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        return websocket.create_connection(
            f"{scheme}://{parts.netloc}{parts.path}/ws?clientId={client_id}",
            timeout=self._timeouts.connect,
            suppress_origin=True,
            http_no_proxy=[parts.hostname] if is_loopback(self._url) else None,
        )

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.shutdown()
            self._socket = None
        self._due = time.monotonic() + next(self._delays)


def _decode(message: str | bytes) -> Event | None:
    # A message that cannot be read is one hint less; polling does not depend on it.
    try:
        return decode_event(message) if message else None
    except (ProtocolError, json.JSONDecodeError):
        return None
