"""A server's WebSocket as a hint: it may be late, silent, cut or refused, and is never an error.

What the server did is read from its history and queue (client.py); what is heard here only says
sooner when to look, and how far a job is.
"""

from __future__ import annotations

import math
import socket
import ssl
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

import websocket
from websockets.frames import Opcode

from ..errors import ProtocolError, SpriteworksError
from ..protocol import Event, FeatureFlags, decode_event, encode_event
from .foreign import translated
from .logins import headers_of
from .messages import Messages
from .wire import Timeouts, is_loopback

_HELLO = encode_event(FeatureFlags(data={"supports_preview_metadata": True}))
# Bytes read at once. A preview takes a few such reads.
_READ = 1 << 16
# Reads after which a server that never pauses is listened to again.
_READS = 64
# Raised by a read that would have to wait.
_NOTHING_YET = (BlockingIOError, TimeoutError, ssl.SSLWantReadError)
# What goes out is short, and waits only where the server does not read; in s.
_SEND = 0.5
# Bytes of a text; longer ones are passed over, for decoding them would hold up other threads.
_LONGEST_TEXT = 8 << 20
# More than any honest server says in a second: 80 jobs of 15 messages, or 100 pictures of 1 MB.
_MOST_MESSAGES = 5_000
_MOST_BYTES = 128 << 20
# Frames, fragments of messages among them. A proxy that cuts _MOST_BYTES by a buffer of 4 KiB makes
# 32,768.
_MOST_FRAMES = 50_000
# So many such seconds in a row are a flood; one is what gathered while nobody listened.
_FLOODED_SECONDS = 2
# How long a server that floods is not listened to, in s.
_DEAFNESS = 60.0
# A connection that stood for so many s was a good one: the next may be opened soon.
_PROVEN = 10.0


def endless() -> float:
    """Say that there is no deadline."""
    return math.inf


class _Flood(ConnectionAbortedError):
    """The server says more than anybody could have to say."""


class _Rate:
    """How much a server says over one connection."""

    def __init__(self) -> None:
        # since when (monotonic) so much came, and how many such spans before were too much
        self._begin = time.monotonic()
        self._messages = self._frames = self._bytes = self._flooded = 0

    def took(self, *, messages: int, frames: int, count: int) -> None:
        """Note what came, `count` in bytes; raises _Flood after too much for too long."""
        now = time.monotonic()
        span = now - self._begin
        if span >= 1.0:
            most = (
                self._messages > span * _MOST_MESSAGES
                or self._frames > span * _MOST_FRAMES
                or self._bytes > span * _MOST_BYTES
            )
            self._flooded = self._flooded + 1 if most else 0
            self._messages = self._frames = self._bytes = 0
            self._begin = now
            if self._flooded >= _FLOODED_SECONDS:
                raise _Flood("the server floods the WebSocket")
        self._messages += messages
        self._frames += frames
        self._bytes += count


class _Socket(websocket.WebSocket):  # type: ignore[misc]  # it has no types
    """A WebSocket that can be shut by another thread while it is being opened."""

    def __init__(self) -> None:
        self._plain: socket.socket | None = None
        self._given_up = False
        super().__init__()

    @property
    def sock(self) -> socket.socket | None:
        """The socket below, once there is one."""
        return self._plain

    @sock.setter
    def sock(self, plain: socket.socket | None) -> None:
        self._plain = plain
        if self._given_up:
            self.give_up()

    def give_up(self) -> None:
        """End whatever it is at, now and later."""
        self._given_up = True
        if self._plain is not None:
            # not its own method: TLS would take its state away from under the reading thread
            with suppress(OSError):
                socket.socket.shutdown(self._plain, socket.SHUT_RDWR)


class _Opening:
    """A WebSocket that is being opened, on a thread of its own.

    websocket-client reads the server's greeting byte by byte, each in its own time: who greets a
    byte a second would never be done. Nobody waits longer for it than they want to, and what is
    late is shut.
    """

    def __init__(self, connect: Callable[[_Socket], None], late: float) -> None:
        # monotonic
        self.late = late
        self._connect = connect
        self._socket = _Socket()
        self._stands = False
        self._done = threading.Event()
        threading.Thread(target=self._run, name="websocket", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Wait for its end, up to so many s; say whether it has come."""
        return self._done.wait(max(seconds, 0.0))

    def result(self) -> _Socket | None:
        """The socket, or None where it was refused; only after its end."""
        return self._socket if self._stands else None

    def give_up(self) -> None:
        """Shut it, whatever it is at."""
        self._socket.give_up()

    def _run(self) -> None:
        try:
            self._connect(self._socket)
            self._stands = True
        except Exception:  # noqa: BLE001  (whatever a greeting makes of it, we are only deaf)
            self._socket.shutdown()
        finally:
            self._done.set()


class Listener:
    """One server's WebSocket, opened when first needed and again after it broke.

    websocket-client opens and closes it; what the server says is read here, all that has arrived at
    once, and `Messages` knows what it is. `client_id` changes with every connection: a server that
    still cleans up after the old one would make a new one under the same id deaf for ever.
    """

    def __init__(
        self, url: str, timeouts: Timeouts, *, left: Callable[[], float] = endless
    ) -> None:
        """`left` says for how many s there is still time, and raises when there is none."""
        self._url = url
        self._timeouts = timeouts
        self._left = left
        self._socket: _Socket | None = None
        self._opening: _Opening | None = None
        # one that was given up; a proxy that drips is the one thing that nothing shuts
        self._stuck: _Opening | None = None
        # of the connection that is being opened
        self._next_id = ""
        self._delays = timeouts.delays()
        self._due = self._since = 0.0
        self._messages = Messages()
        # what was read and not heard yet; "" for what was passed over
        self._waiting: deque[str | bytes] = deque()
        self._rate = _Rate()
        self.client_id = ""

    @property
    def connected(self) -> bool:
        """Whether there is a socket that has not failed yet."""
        return self._socket is not None

    def open(self) -> None:
        """Connect unless connected; a refusal only leaves us deaf."""
        self._open(self._timeouts.connect)

    def hear(self, seconds: float, *, gather: float = 0.0) -> Event | None:
        """Return the next event, or None when none came within `seconds` or none can come.

        After the first word the server is left to speak for `gather` s, so that one awakening
        hears all of it; what is heard is so much later.
        """
        until = time.monotonic() + seconds
        # A large message takes several reads.
        while not self._waiting and time.monotonic() < until:
            self._read(until, gather)
        return _decode(self._waiting.popleft()) if self._waiting else None

    def close(self) -> None:
        """Close the socket."""
        if self._opening is not None:
            self._opening.give_up()
            self._opening = None
        if self._socket is not None:
            self._socket.settimeout(_SEND)
            self._socket.close(timeout=0)
            self._socket = None
        self._waiting.clear()

    def _open(self, seconds: float) -> None:
        """Connect unless connected, and wait up to so many s for it."""
        now = time.monotonic()
        if self._socket is not None or now < self._due:
            return
        if self._stuck is not None and not self._stuck.wait(0.0):
            return
        if self._opening is None:
            self._next_id = client_id = uuid.uuid4().hex
            self._opening = _Opening(
                lambda ours: self._connect(ours, client_id), now + self._timeouts.connect
            )
        opening = self._opening
        if opening.wait(min(seconds, opening.late - now, self._left())):
            self._opening, self._socket = None, opening.result()
            if self._socket is None:
                self._drop()
                return
            self._messages = Messages()
            self._rate = _Rate()
            self._since = time.monotonic()
            self.client_id = self._next_id
        elif time.monotonic() >= opening.late:
            opening.give_up()
            self._opening, self._stuck = None, opening
            self._drop()

    def _read(self, until: float, gather: float) -> None:
        self._open(until - time.monotonic())
        left = until - time.monotonic()
        if self._socket is None:
            time.sleep(max(left, 0.0))
            return
        try:
            with translated(self._url):
                self._take_in(self._socket, left, gather)
        except SpriteworksError as error:
            self._drop(_DEAFNESS if isinstance(error.__cause__, _Flood) else None)

    def _take_in(self, ours: _Socket, seconds: float, gather: float) -> None:
        """Read what there is, after waiting for the first of it."""
        sock = ours.sock
        if sock is None:
            raise ConnectionAbortedError("the WebSocket was closed")
        try:
            # 0 would not wait at all.
            sock.settimeout(max(seconds, 0.001))
            self._take(ours, sock.recv(_READ))
            if gather:
                time.sleep(gather)
                for _ in range(_READS):
                    if len(self._waiting) > _READS:
                        break
                    sock.settimeout(0)
                    self._take(ours, sock.recv(_READ))
        except _NOTHING_YET:
            return

    def _take(self, ours: _Socket, data: bytes) -> None:
        frames, messages = self._messages.feed(data)
        self._rate.took(messages=len(messages), frames=frames, count=len(data))
        for opcode, payload in messages:
            if opcode is Opcode.TEXT:
                # Text that is none is one hint less.
                with suppress(UnicodeDecodeError):
                    self._waiting.append(payload.decode() if len(payload) <= _LONGEST_TEXT else "")
            elif opcode is Opcode.BINARY:
                self._waiting.append(payload)
        self._answer(ours)
        if any(opcode is Opcode.CLOSE for opcode, _ in messages):
            raise ConnectionAbortedError("the server has closed the WebSocket")
        if not data:
            raise ConnectionAbortedError("the WebSocket has ended")

    def _answer(self, ours: _Socket) -> None:
        answer = self._messages.answer()
        if not answer or ours.sock is None:
            return
        ours.sock.settimeout(_SEND)
        try:
            ours.sock.sendall(answer)
        except _NOTHING_YET as error:
            # Half of it may have gone out.
            raise ConnectionAbortedError("the server does not read") from error

    def _connect(self, ours: _Socket, client_id: str) -> None:
        """Open it; on the thread of _Opening."""
        parts = urlsplit(self._url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        ours.settimeout(self._timeouts.connect)
        ours.connect(
            f"{scheme}://{parts.netloc}{parts.path}/ws?clientId={client_id}",
            suppress_origin=True,
            header=headers_of(self._url),
            http_no_proxy=[parts.hostname] if is_loopback(self._url) else None,
        )
        ours.send(_HELLO)

    def _drop(self, pause: float | None = None) -> None:
        now = time.monotonic()
        if self._socket is not None:
            self._socket.shutdown()
            self._socket = None
            if now - self._since >= _PROVEN:
                self._delays = self._timeouts.delays()
        self._due = now + (next(self._delays) if pause is None else pause)


def _decode(message: str | bytes) -> Event | None:
    # A message that cannot be read is one hint less; polling does not depend on it.
    try:
        return decode_event(message) if message else None
    except ProtocolError:
        return None
