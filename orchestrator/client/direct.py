"""Requests over one kept connection, with nothing but http.client between us and the socket.

A request costs `requests` 0.76 ms of CPU and http.client 0.14 ms (loopback, warm), and a batch
sends three for every job. What only `requests` knows, proxies, TLS, redirects, cookies and uploads,
stays with it; see wire.py.
"""

from __future__ import annotations

import http.client
import selectors
import socket
from collections.abc import Mapping
from types import TracebackType
from urllib.parse import urlencode, urlsplit

from .bounds import BoundedConnection, Bounds
from .foreign import connecting

# headers of a request whose body is JSON
JSON = {"Content-Type": "application/json"}


class Direct:
    """A server's plain HTTP side, without a proxy. Not for use by several threads at once."""

    def __init__(
        self, url: str, headers: Mapping[str, str], *, bounds: Bounds, connect: float
    ) -> None:
        parts = urlsplit(url)
        self._url = url
        # what the server's address itself has for a path, when it lies behind another server
        self._prefix = parts.path
        self._headers = dict(headers)
        self._connection = BoundedConnection(str(parts.hostname), parts.port or 80, bounds, connect)

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        self._connection.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> DirectReply:
        """Send one request once, with JSON as `body`; raises what sockets and http.client raise."""
        target = self._prefix + path + (f"?{urlencode(params)}" if params else "")
        headers = self._headers if body is None else {**self._headers, **JSON}
        try:
            self._open()
            self._connection.request(method, target, body, headers)
            return DirectReply(self._connection, self._connection.getresponse())
        except BaseException:
            # Half an answer must not be taken for the next one's.
            self._connection.close()
            raise

    def _open(self) -> None:
        connection = self._connection
        sock: socket.socket | None = connection.sock
        if sock is not None and _can_be_read(sock):
            # Nobody asked, so what can be read is the end of the connection.
            connection.close()
            sock = None
        if sock is None:
            with connecting(self._url):
                connection.connect()


class DirectReply:
    """An answer whose head has been read; a context manager, which ends its reading."""

    def __init__(
        self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse
    ) -> None:
        self._connection = connection
        self._response = response
        self.status = response.status
        # names in lower case
        self.headers = {name.lower(): value for name, value in response.headers.raw_items()}

    def __enter__(self) -> DirectReply:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # http.client closes an answer that it has read to its end.
        if not self._response.isclosed():
            self._response.close()
            self._connection.close()

    def read(self, count: int) -> bytes:
        """Up to `count` bytes of the body; none where it has ended, raises where it is cut off."""
        due = self._response.length
        if due is not None and count >= due:
            # complains where less comes
            return self._response.read()
        data = self._response.read(count)
        if not data and self._response.length:
            raise http.client.IncompleteRead(data, self._response.length)
        return data


def _can_be_read(sock: socket.socket) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))
