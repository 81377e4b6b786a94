"""Requests to one server: sends, retries, and answers in our errors only."""

from __future__ import annotations

import itertools
import json as text_of
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from requests.exceptions import InvalidJSONError
from requests.utils import select_proxy

from ..errors import (
    BadValue,
    ProtocolError,
    ServerError,
    ServerFailed,
    ServerLost,
    SpriteworksError,
)
from .direct import JSON, Answer, Direct
from .foreign import Verdict, backoff, judge, translated

T = TypeVar("T")

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
# Answers by which a server or a proxy before it says "not now".
_BUSY = {408, 425, 429}
# Headers of requests' own that are sent without it, too: who we are, and the login that an address
# with a name and a password in it, or netrc, gives.
_KEPT = ("User-Agent", "Authorization")
_REDIRECTS = {301, 302, 303, 307, 308}
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
        # None where only requests knows the way: by TLS, a proxy or a cookie
        self._direct = self._straight()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()
        if self._direct is not None:
            self._direct.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        **upload: Any,
    ) -> Answer:
        """Send one request once; raises one of our errors for all but a 2xx answer.

        `upload` is `data` and `files` as requests takes them.
        """
        with translated(self.url):
            body = None if json is None else _encoded(json)
            answer = self._ask(method, path, params, body, upload)
        _raise_for_status(answer, f"{method} {path}", self.url)
        return answer

    def json(self, method: str, path: str, **options: Any) -> Any:
        """Send one request once and decode its answer."""
        answer = self.send(method, path, **options)
        try:
            return answer.json()
        except ValueError as error:
            raise ProtocolError(
                f"what answers at {self.url} does not speak ComfyUI's protocol; check the address "
                f"(its answer to {method} {path} is no JSON: {_excerpt(answer)!r})"
            ) from error

    def _straight(self) -> Direct | None:
        if urlsplit(self.url).scheme != "http":
            return None
        # Read from environment and netrc once; requests does so for every request.
        with translated(self.url):
            prepared = self._session.prepare_request(requests.Request("GET", self.url))
        settings = self._session.merge_environment_settings(self.url, {}, False, None, None)
        if select_proxy(str(prepared.url), settings["proxies"]):
            return None
        return Direct(
            self.url,
            {name: prepared.headers[name] for name in _KEPT if name in prepared.headers},
            connect=self.timeouts.connect,
            read=self.timeouts.read,
        )

    def _ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: bytes | None,
        upload: Mapping[str, Any],
    ) -> Answer:
        if self._direct is not None and not upload:
            answer = self._direct.send(method, path, params=params, body=body)
            if "set-cookie" in answer.headers:
                # Whoever gives cookies wants them back.
                self._direct.close()
                self._direct = None
            if answer.status not in _REDIRECTS:
                return answer
        response = self._session.request(
            method,
            self.url + path,
            params=params,
            timeout=(self.timeouts.connect, self.timeouts.read),
            **(upload or {"data": body, "headers": JSON if body is not None else None}),
        )
        return _answer(response)

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
        with translated(self.url):
            response = self._session.get(
                self.url + path,
                params=params,
                timeout=(self.timeouts.connect, self.timeouts.read),
                stream=True,
            )
        if not response.ok:
            with response, translated(self.url):
                _raise_for_status(_answer(response), f"GET {path}", self.url)
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
    """The server has nothing at that address, or nothing to post to."""


class BadRequest(ServerError):
    """HTTP 400; `body` is the decoded answer, or its text."""

    def __init__(self, message: str, body: Any) -> None:
        self.body = body
        super().__init__(message)


def _encoded(value: Any) -> bytes:
    try:
        return text_of.dumps(value, allow_nan=False).encode()
    except ValueError as error:
        raise InvalidJSONError(error) from error


def _answer(response: requests.Response) -> Answer:
    names = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, names, response.content)


def _raise_for_status(answer: Answer, what: str, url: str) -> None:
    code = answer.status
    if 200 <= code < 300:
        return
    if code == 400:
        raise BadRequest(f"{url} refused {what}: {_excerpt(answer)}", _body(answer))
    # ComfyUI has the editor's files at every address that it does not know: there to get only.
    if code in (404, 405):
        raise NotFound(f"{url} does not know {what}; is it a ComfyUI server?")
    if code in (401, 403):
        raise ServerError(f"{url} does not let us {what} (HTTP {code}); it wants a login")
    if code >= 500 or code in _BUSY:
        raise ServerFailed(
            f"{url} stumbled over {what} (HTTP {code}); look at its log: {_excerpt(answer)}"
        )
    raise ProtocolError(f"{url} answered {what} with HTTP {code}, which ComfyUI never does")


def _excerpt(answer: Answer) -> str:
    return " ".join(answer.text[:200].split())


def _body(answer: Answer) -> Any:
    try:
        return answer.json()
    except ValueError:
        return answer.text
