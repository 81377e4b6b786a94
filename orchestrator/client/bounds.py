"""How long one client may take, and how much one answer may bring.

A timeout of a socket is one of each read: a server that sends a byte a second keeps within it for
ever. Here every read and write of an HTTP connection, ours and urllib3's, is given only the time
that is left to the whole request, and to what the request is a part of.
"""

from __future__ import annotations

import http.client
import io
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import JobTimedOut, ProtocolError, ServerLost, SpriteworksError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Bytes that an answer may have besides its body: heads, also of redirects, and chunks' sizes.
_OVERHEAD = 1 << 20
# Bytes handed to a socket at once, so that a slow reader is noticed in between.
_PIECE = 1 << 16
# s after which a wait looks whether it was given up meanwhile.
_SLICE = 0.5


class AnswerTooLarge(ProtocolError):
    """An answer of more bytes than were asked for; another try would bring as many."""


class Bounds:
    """What one client may still take, in time and bytes. For one thread."""

    def __init__(self, url: str) -> None:
        self.url = url
        # monotonic; of what the requests are a part of, and the error where it is over
        self._end = math.inf
        self._over: Callable[[], SpriteworksError] = self._timed_out
        # of the one request
        self._due = math.inf
        self._read = math.inf
        self._seconds = math.inf
        # set by another thread
        self._aborted = False
        self._what = ""
        self._limit = self._bytes = 0

    def abort(self) -> None:
        """From any thread: end what is under way, and all that begins from now on, by ServerLost.

        It ends within a second.
        """
        self._aborted = True

    @contextmanager
    def until(
        self, deadline: float, error: Callable[[], SpriteworksError] | None = None
    ) -> Iterator[None]:
        """End all that happens inside by `deadline`, a time of time.monotonic().

        It ends by `error`, or by a JobTimedOut. Where an outer deadline is earlier, that one holds.
        """
        if deadline >= self._end:
            yield
            return
        with self._ending(deadline, error or self._timed_out):
            yield

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Give what happens inside so many s of its own, whatever else is over, by ServerLost."""

        def lost() -> SpriteworksError:
            return ServerLost(
                f"the server at {self.url} did not answer within {seconds:g} s; look at its log"
            )

        with self._ending(time.monotonic() + seconds, lost):
            yield

    @contextmanager
    def _ending(self, deadline: float, error: Callable[[], SpriteworksError]) -> Iterator[None]:
        before = self._end, self._over
        self._end, self._over = deadline, error
        try:
            yield
        finally:
            self._end, self._over = before

    def begin(self, what: str, *, read: float, total: float, limit: int) -> None:
        """Begin a request: `read` s at most for each read, `total` for all, `limit` bytes of body.

        Raises where the time for more than this request is over already.
        """
        now = time.monotonic()
        self._what, self._read, self._seconds = what, read, total
        self._due = now + total
        self._limit, self._bytes = limit, limit + _OVERHEAD
        self._check(now)

    def left(self, most: float = math.inf) -> float:
        """Seconds until the whole must be over, `most` at most; raises where it is over."""
        now = time.monotonic()
        self._check_whole(now)
        return min(most, self._end - now)

    def left_to_request(self, most: float = math.inf) -> float:
        """Seconds for the next step of the request, `most` at most; raises where it is late."""
        now = time.monotonic()
        left = (self._due if self._due < self._end else self._end) - now
        if left <= 0:
            self._check(now)
        return min(most, self._read, left)

    def check(self) -> None:
        """Raise where the request, or the whole, is late."""
        self._check(time.monotonic())

    def took(self, count: int) -> None:
        """Note that so many bytes have come; raises where they are too many."""
        self._bytes -= count
        if self._bytes < 0:
            raise self.too_large()

    def too_large(self) -> AnswerTooLarge:
        """The error for an answer of more bytes than were asked for."""
        return AnswerTooLarge(
            f"what answers at {self.url} sent more than {self._limit:,} bytes to {self._what}; "
            "look at what runs there"
        )

    def _check_whole(self, now: float) -> None:
        if self._aborted:
            raise ServerLost(f"nobody waits any longer for the server at {self.url}")
        if now >= self._end:
            raise self._over()

    def _check(self, now: float) -> None:
        self._check_whole(now)
        if now >= self._due:
            raise ServerLost(
                f"the server at {self.url} did not bring its answer to {self._what} to an end "
                f"within {self._seconds:g} s; look at its log, then run this again"
            )

    def _timed_out(self) -> SpriteworksError:
        return JobTimedOut(
            f"the time for this was over before the server at {self.url} was done with it; give it "
            "more (timeout, or --timeout)"
        )


# ----------------------------------------------------------------------- connections


def connected(host: str, port: int, bounds: Bounds, seconds: float) -> socket.socket:
    """Open a TCP connection within `seconds`, over all the addresses of the host."""
    late = time.monotonic() + bounds.left_to_request(seconds)
    addresses = _addresses(host, port, late)
    error: OSError = OSError(f"{host} has no address")
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        try:
            # An address that swallows everything leaves time for the next one.
            share = (late - time.monotonic()) / (len(addresses) - number)
            sock.settimeout(max(share, 0.001))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as failed:
            sock.close()
            error = failed
            bounds.check()
            continue
        return sock
    raise error


def _addresses(host: str, port: int, late: float) -> list[Any]:
    try:
        # Numbers need nobody to be asked.
        return socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    except socket.gaierror:
        return _looked_up(host, port, late)


def _looked_up(host: str, port: int, late: float) -> list[Any]:
    """Ask the name servers, on a thread of its own: they take as long as they like."""
    found: Future[list[Any]] = Future()

    def look_up() -> None:
        try:
            found.set_result(socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.set_exception(error)

    threading.Thread(target=look_up, name="name", daemon=True).start()
    try:
        return found.result(max(late - time.monotonic(), 0.001))
    except TimeoutError:
        raise
    except Exception as error:
        if found.done():
            raise
        # Python 3.10 has a class of its own for a future that is late.
        raise TimeoutError(f"no name server answered for {host}") from error


class _Reader(io.RawIOBase):
    """What comes from a socket, within bounds."""

    def __init__(self, sock: Any, bounds: Bounds) -> None:
        self._sock = sock
        self._bounds = bounds
        # keeps the socket open for as long as the answer is read
        self._file = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        left = self._bounds.left_to_request()
        while True:
            self._sock.settimeout(min(left, _SLICE))
            try:
                count: int = self._sock.recv_into(buffer)
            except TimeoutError:
                self._bounds.check()
                left -= _SLICE
                if left <= 0:
                    raise
                continue
            self._bounds.took(count)
            return count

    def close(self) -> None:
        self._file.close()
        super().close()


class _Source:
    """Stands in for a socket where http.client makes its answer's file of one."""

    def __init__(self, sock: Any, bounds: Bounds) -> None:
        self._sock = sock
        self._bounds = bounds

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock, self._bounds))


def bounded_response(bounds: Bounds, sock: Any, *arguments: Any, **named: Any) -> Any:
    """An answer of http.client that is read within bounds."""
    return http.client.HTTPResponse(_Source(sock, bounds), *arguments, **named)  # type: ignore[arg-type]


class Bounded:
    """What a connection of http.client or urllib3 does otherwise within bounds."""

    bounds: Bounds
    sock: Any

    def send(self, data: Any) -> None:
        """Send bytes; a peer that takes them slowly uses up the request's time."""
        if not isinstance(data, bytes | bytearray | memoryview):
            super().send(data)  # type: ignore[misc]
            return
        if self.sock is None:
            self.connect()  # type: ignore[attr-defined]
        left = memoryview(data) if len(data) > _PIECE else data
        while left:
            self.sock.settimeout(self.bounds.left_to_request())
            try:
                left = left[self.sock.send(left[:_PIECE]) :]
            except TimeoutError:
                self.bounds.check()
                raise


class BoundedConnection(Bounded, http.client.HTTPConnection):
    """A plain connection of http.client within bounds."""

    def __init__(self, host: str, port: int, bounds: Bounds, seconds: float) -> None:
        super().__init__(host, port)
        self.bounds = bounds
        self.response_class = partial(bounded_response, bounds)  # type: ignore[assignment]
        self._seconds = seconds

    def connect(self) -> None:
        """Open it."""
        self.sock = connected(self.host, self.port, self.bounds, self._seconds)
