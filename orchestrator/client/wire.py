"""Requests to one server: sends, retries, and answers in our errors only."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests

from ..errors import (
    BadValue,
    ProtocolError,
    ServerError,
    ServerFailed,
    ServerLost,
    SpriteworksError,
)
from .foreign import Verdict, backoff, judge, translated

T = TypeVar("T")

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
# Answers by which a server or a proxy before it says "not now".
_BUSY = {408, 425, 429}
_CHUNK = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """How long the client waits for what, in s."""

    # a TCP connection, of HTTP and of the WebSocket
    connect: float = 5.0
    # one HTTP answer; ComfyUI answers late while it loads a model
    read: float = 60.0
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
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        port_is_fine = False
    if not port_is_fine or parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadValue(f"{text!r} is no server address; write it like http://127.0.0.1:8188")
    return url.rstrip("/")


def is_loopback(url: str) -> bool:
    """Say whether `url` is on this machine, where no proxy may come in between."""
    return urlsplit(url).hostname in _LOOPBACK


class Wire:
    """One server's HTTP side. Not for use by several threads at once."""

    def __init__(self, url: str, timeouts: Timeouts) -> None:
        self.url = url
        self.timeouts = timeouts
        self._session = requests.Session()
        self._session.trust_env = not is_loopback(url)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def send(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send one request once; raises one of our errors for all but a 2xx answer."""
        with translated(self.url):
            response = self._session.request(
                method,
                self.url + path,
                timeout=(self.timeouts.connect, self.timeouts.read),
                **options,
            )
        _raise_for_status(response, f"{method} {path}", self.url)
        return response

    def json(self, method: str, path: str, **options: Any) -> Any:
        """Send one request once and decode its answer."""
        response = self.send(method, path, **options)
        with translated(self.url):
            return response.json()

    def patiently(self, request: Callable[[], T]) -> T:
        """Repeat a request that may safely be repeated until it succeeds or the tries are spent."""
        for attempt in itertools.count(1):
            try:
                return request()
            except SpriteworksError as error:
                if judge(error) is Verdict.FATAL or attempt >= self.timeouts.tries:
                    raise
            self.pause(attempt)
        raise AssertionError("unreachable")

    def pause(self, attempt: int) -> None:
        """Wait before the try that follows number `attempt`, counted from 1."""
        time.sleep(next(itertools.islice(self.timeouts.delays(), attempt - 1, None)))

    def chunks(self, path: str, params: dict[str, str]) -> Iterator[bytes]:
        """Yield the body of a GET; raises ServerLost where it ends early."""
        response = self.send("GET", path, params=params, stream=True)
        announced = response.headers.get("Content-Length")
        received = 0
        with response, translated(self.url):
            for chunk in response.iter_content(_CHUNK):
                received += len(chunk)
                yield chunk
        encoded = "Content-Encoding" in response.headers
        if announced is not None and not encoded and received != int(announced):
            raise ServerLost(f"{self.url} sent {received} of {announced} bytes of {params}")


class NotFound(ServerError):
    """HTTP 404."""


class BadRequest(ServerError):
    """HTTP 400; `body` is the decoded answer, or its text."""

    def __init__(self, message: str, body: Any) -> None:
        self.body = body
        super().__init__(message)


def _raise_for_status(response: requests.Response, what: str, url: str) -> None:
    code = response.status_code
    if 200 <= code < 300:
        return
    with response:
        if code == 400:
            raise BadRequest(f"{url} refused {what}: {_excerpt(response)}", _body(response))
        if code == 404:
            raise NotFound(f"{url} does not know {what}; is it a ComfyUI server?")
        if code in (401, 403):
            raise ServerError(f"{url} does not let us {what} (HTTP {code}); it wants a login")
        if code >= 500 or code in _BUSY:
            raise ServerFailed(
                f"{url} stumbled over {what} (HTTP {code}); look at its log: {_excerpt(response)}"
            )
        raise ProtocolError(f"{url} answered {what} with HTTP {code}, which ComfyUI never does")


def _excerpt(response: requests.Response) -> str:
    return " ".join(response.text[:200].split())


def _body(response: requests.Response) -> Any:
    try:
        return response.json()
    except requests.JSONDecodeError:
        return response.text
