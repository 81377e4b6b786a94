"""Requests to one server: sends, retries, and answers in our errors only."""

from __future__ import annotations

import hashlib
import itertools
import json as text_of
import time
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, TypeVar
from urllib.parse import urlsplit

from .. import addresses
from ..errors import (
    BadValue,
    ProtocolError,
    ServerError,
    ServerFailed,
    ServerLost,
    SpriteworksError,
)
from ..protocol import decode_json, excerpt
from ..version import __version__
from .bounds import Bounds
from .direct import Direct, DirectReply
from .foreign import Reaction, backoff, faults, judge, translate, translated
from .logins import headers_of

if TYPE_CHECKING:
    from .by_requests import ByRequests, RequestsReply

T = TypeVar("T")

# Answers by which a server or a proxy before it says "not now".
_BUSY = {408, 425, 429}
# Who we are, where requests does not say it.
_WE = f"spriteworks/{__version__}"
_REDIRECTS = {301, 302, 303, 307, 308}
_CHUNK = 1 << 18

# Bytes of an answer that is kept in memory.
ANSWER_LIMIT = 64 << 20
# The same of node classes, and of a queue of thousands of graphs.
LARGE_ANSWER_LIMIT = 256 << 20
# Bytes of a file.
FILE_LIMIT = 512 << 20
# Bytes of an answer that only says why there is no other.
_EXCUSE_LIMIT = 16 << 20


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """How long the client waits for what, in s."""

    # a TCP connection, of HTTP and of the WebSocket
    connect: float = 5.0
    # a pause within an HTTP answer; ComfyUI answers late while it loads a model
    read: float = 60.0
    # the whole of one HTTP answer, however slowly it comes
    total: float = 60.0
    # the whole of one upload or download of a file
    transfer: float = 600.0
    # between two looks into history and queue
    poll: float = 1.0
    # looks, and as many times `poll`, for which a job is neither in queue nor history before it
    # counts as lost
    lost_polls: int = 5
    # time without any answer before a server that answered before counts as lost
    lost_after: float = 10.0
    # tries of one request before its error counts
    tries: int = 4
    # delays between tries
    delays: Callable[[], Iterator[float]] = backoff


def base_url(text: str) -> str:
    """Read a server address as people write it; raises BadValue for what is none."""
    url = text.strip()
    if "://" not in url:
        url = f"http://{url}"
    try:
        parts = urlsplit(url)
        is_fine = parts.port is None or parts.port > 0
        # What stands there would be sent with no request, or with every one in the wrong place.
        is_fine = is_fine and not {"?", "#", "@", "\\"} & set(url)
    except ValueError:
        is_fine = False
    # No URL has a space in it (RFC 3986), and urlsplit() says nothing of one.
    is_fine = is_fine and url.isprintable() and " " not in url
    if not is_fine or parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadValue(f"{text!r} is no server address; write it like http://127.0.0.1:8188")
    return url.rstrip("/")


def is_loopback(url: str) -> bool:
    """Say whether `url` is on this machine, where no proxy may come in between."""
    return addresses.is_loopback(urlsplit(url).hostname or "")


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, read to its end."""

    status: int
    # names in lower case
    headers: Mapping[str, str]
    content: bytes

    @property
    def text(self) -> str:
        """The body as text, whatever it is."""
        return self.content.decode("utf-8", "replace")


@dataclass(frozen=True, kw_only=True)
class ReceivedFile:
    """A file that came whole."""

    bytes: int
    # of its content, in hexadecimal
    sha256: str


# an answer whose head has been read
_Reply: TypeAlias = "DirectReply | RequestsReply"


class Wire:
    """One server's HTTP side. Not for use by several threads at once."""

    def __init__(self, url: str, timeouts: Timeouts) -> None:
        self.url = url
        self.timeouts = timeouts
        self.bounds = Bounds(url)
        # made once it is needed
        self._requests: ByRequests | None = None
        # None where only requests knows the way: by TLS or a proxy
        self._direct = self._straight()
        # with cookies, too
        self._has_cookies = False

    def close(self) -> None:
        """Close the connections."""
        if self._requests is not None:
            self._requests.close()
        if self._direct is not None:
            self._direct.close()

    def until(self, deadline: float) -> AbstractContextManager[None]:
        """End every request and pause inside by a time of time.monotonic(); see Bounds."""
        return self.bounds.until(deadline)

    def within(self, seconds: float) -> AbstractContextManager[None]:
        """Give the requests inside so many s in all, whatever else is over; see Bounds."""
        return self.bounds.within(seconds)

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        limit: int = ANSWER_LIMIT,
        **upload: Any,
    ) -> Answer:
        """Send one request once; raises one of our errors for all but a 2xx answer.

        `upload` is `data` and `files` as requests takes them. An answer of more than `limit` bytes
        is a ProtocolError.
        """
        what = f"{method} {path}"
        body = None if json is None else _encoded(json, self.url)
        self._begin(what, self.timeouts.transfer if upload else self.timeouts.total, limit)
        with self._translated(), self._ask(method, path, params, body, upload) as reply:
            answer = Answer(reply.status, reply.headers, self._whole(reply, limit))
        _raise_for_status(answer, what, self.url)
        return answer

    def json(self, method: str, path: str, **options: Any) -> Any:
        """Send one request once and decode its answer."""
        answer = self.send(method, path, **options)
        try:
            return decode_json(answer.content, f"its answer to {method} {path}")
        except ProtocolError as error:
            raise ProtocolError(
                f"what answers at {self.url} does not speak ComfyUI's protocol; check the address "
                f"({error})"
            ) from error

    def fetch(
        self, path: str, params: Mapping[str, str], sink: BinaryIO, *, limit: int = FILE_LIMIT
    ) -> ReceivedFile:
        """Get a file once, into `sink` from where it stands; raises ServerLost where it is cut off.

        What `sink` raises passes as it is.
        """
        digest, count = hashlib.sha256(), 0
        with closing(self._pieces(path, params, limit)) as pieces:
            for piece in pieces:
                digest.update(piece)
                count += len(piece)
                sink.write(piece)
        return ReceivedFile(bytes=count, sha256=digest.hexdigest())

    def _pieces(
        self, path: str, params: Mapping[str, str], limit: int
    ) -> Generator[bytes, None, None]:
        what = f"GET {path}"
        self._begin(what, self.timeouts.transfer, limit)
        with self._translated(), self._ask("GET", path, params, None, {}) as reply:
            if not 200 <= reply.status < 300:
                content = self._whole(reply, _EXCUSE_LIMIT)
                _raise_for_status(Answer(reply.status, reply.headers, content), what, self.url)
            yield from self._body(reply, limit)

    def _begin(self, what: str, total: float, limit: int) -> None:
        self.bounds.begin(what, read=self.timeouts.read, total=total, limit=limit)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise ours for what happens inside; where all the time is over, that is what counts."""
        try:
            yield
        except ServerError:
            self.bounds.left()
            raise
        except faults() as error:
            self.bounds.left()
            raise translate(error, self.url) from error

    def _whole(self, reply: _Reply, limit: int) -> bytes:
        pieces = list(self._body(reply, limit))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _body(self, reply: _Reply, limit: int) -> Iterator[bytes]:
        """The body, unpacked, in pieces; raises ProtocolError where it is too large."""
        announced = reply.headers.get("content-length", "")
        if announced.isdecimal() and int(announced[:20]) > limit:
            raise self.bounds.too_large()
        encoding = reply.headers.get("content-encoding", "identity").lower()
        pieces = iter(lambda: reply.read(_CHUNK), b"")
        if encoding in ("gzip", "x-gzip"):
            pieces = _unpacked(pieces, self.url)
        elif encoding not in ("", "identity"):
            raise ProtocolError(
                f"{self.url} answers in the encoding {excerpt(encoding)!r}, which nobody asked "
                "for; look at what runs there"
            )
        count = 0
        for piece in pieces:
            count += len(piece)
            if count > limit:
                raise self.bounds.too_large()
            if piece:
                yield piece

    def _straight(self) -> Direct | None:
        parts = urlsplit(self.url)
        if parts.scheme != "http":
            return None
        if is_loopback(self.url) and parts.username is None:
            # No proxy comes in between, and netrc does not count.
            headers: dict[str, str] | None = {"User-Agent": _WE, **headers_of(self.url)}
        else:
            with translated(self.url):
                headers = self._by_requests().straight()
        if headers is None:
            return None
        return Direct(self.url, headers, bounds=self.bounds, connect=self.timeouts.connect)

    def _by_requests(self) -> ByRequests:
        if self._requests is None:
            # 0.1 s, for those who need what only requests knows
            from .by_requests import ByRequests

            self._requests = ByRequests(
                self.url,
                headers_of(self.url),
                self.bounds,
                trust_env=not is_loopback(self.url),
                timeouts=(self.timeouts.connect, self.timeouts.read),
            )
        return self._requests

    def _ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: bytes | None,
        upload: Mapping[str, Any],
    ) -> _Reply:
        if self._direct is not None and not upload and not self._has_cookies:
            reply = self._direct.send(method, path, params=params, body=body)
            # Whoever gives cookies wants them back.
            self._has_cookies = "set-cookie" in reply.headers
            if reply.status not in _REDIRECTS:
                return reply
            # It leads elsewhere, and requests goes there.
            self._direct.close()
        return self._by_requests().ask(method, path, params, body, upload)

    def patiently(self, request: Callable[[], T]) -> T:
        """Repeat a request that may safely be repeated until it succeeds or the tries are spent.

        After `Timeouts.total` there is no other try: who drips or says nothing would be given four
        times as long.
        """
        late = time.monotonic() + self.timeouts.total
        for attempt in itertools.count(1):
            try:
                return request()
            except SpriteworksError as error:
                spent = attempt >= self.timeouts.tries or time.monotonic() >= late
                if spent or judge(error) is Reaction.FATAL:
                    raise
            self.pause(attempt)
        raise AssertionError("unreachable")

    def pause(self, attempt: int) -> None:
        """Wait before the try that follows number `attempt`, counted from 1."""
        delay = next(itertools.islice(self.timeouts.delays(), attempt - 1, None))
        time.sleep(self.bounds.left(delay))


class AddressNotFound(ServerError):
    """The server has nothing at that address, or nothing to post to."""


class BadRequest(ServerError):
    """HTTP 400; `body` is the decoded answer, or its text."""

    def __init__(self, message: str, body: Any) -> None:
        self.body = body
        super().__init__(message)


def _encoded(value: Any, url: str) -> bytes:
    try:
        return text_of.dumps(value, allow_nan=False).encode()
    except ValueError as error:
        from requests.exceptions import InvalidJSONError

        raise translate(InvalidJSONError(error), url) from error


def _unpacked(pieces: Iterator[bytes], url: str) -> Iterator[bytes]:
    """What was squeezed by gzip, never much at once, however much it is."""
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        for piece in pieces:
            left = piece
            while left and not unpacker.eof:
                yield unpacker.decompress(left, _CHUNK)
                left = unpacker.unconsumed_tail
        yield unpacker.flush()
    except zlib.error as error:
        raise ProtocolError(f"{url} sent what is said to be gzip and is none") from error
    if not unpacker.eof:
        raise ServerLost(f"{url} stopped in the middle of an answer; look at its log")


def _raise_for_status(answer: Answer, what: str, url: str) -> None:
    code = answer.status
    if 200 <= code < 300:
        return
    if code == 400:
        raise BadRequest(f"{url} refused {what}: {_excerpt(answer)}", _body(answer))
    # ComfyUI has the editor's files at every address that it does not know: there to get only.
    if code in (404, 405):
        raise AddressNotFound(f"{url} does not know {what}; is it a ComfyUI server?")
    if code in (401, 403):
        raise ServerError(f"{url} does not let us {what} (HTTP {code}); it wants a login")
    if code >= 500 or code in _BUSY:
        raise ServerFailed(
            f"{url} stumbled over {what} (HTTP {code}); look at its log: {_excerpt(answer)}"
        )
    raise ProtocolError(f"{url} answered {what} with HTTP {code}, which ComfyUI never does")


def _excerpt(answer: Answer) -> str:
    return excerpt(answer.content)


def _body(answer: Answer) -> Any:
    try:
        return decode_json(answer.content)
    except ProtocolError:
        return answer.text
