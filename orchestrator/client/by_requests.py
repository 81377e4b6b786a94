"""Requests by requests: through proxies, by TLS, with cookies, redirects and uploads."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from functools import partial
from http.client import IncompleteRead
from types import TracebackType
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from ..errors import ProtocolError
from .bounds import Bounded, Bounds, bounded_response, connected
from .direct import JSON

# Headers of requests' own that are sent without it, too: who we are, and the login that an address
# with a name and a password in it, or netrc, gives.
_KEPT = ("User-Agent", "Authorization")
_MOST_REDIRECTS = 5


class RequestsReply:
    """An answer that requests has read the head of."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        self._received = 0
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}

    def __enter__(self) -> RequestsReply:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._response.close()

    def read(self, count: int) -> bytes:
        """Up to `count` bytes as they were sent; raises where they are cut off."""
        data: bytes = self._response.raw.read(count, decode_content=False)
        self._received += len(data)
        announced = self.headers.get("content-length", "")
        # Not every version of urllib3 complains.
        if not data and announced.isdecimal() and "transfer-encoding" not in self.headers:
            missing = int(announced) - self._received
            if missing > 0:
                raise IncompleteRead(data, missing)
        return data


class ByRequests:
    """A server's HTTP side. Not for use by several threads at once."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        bounds: Bounds,
        *,
        trust_env: bool,
        timeouts: tuple[float, float],
    ) -> None:
        """`timeouts` are those of a connection and of a pause, in s."""
        self._url = url
        self._timeouts = timeouts
        self._session = requests.Session()
        self._session.trust_env = trust_env
        self._session.max_redirects = _MOST_REDIRECTS
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, BoundedAdapter(bounds))
        # what is sent squeezed is unpacked by the caller, within bounds
        self._session.headers["Accept-Encoding"] = "gzip"
        self._session.headers.update(headers)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def straight(self) -> dict[str, str] | None:
        """The headers of a request that goes without requests; None where a proxy is between."""
        # Read from environment and netrc once; requests does so for every request.
        prepared = self._session.prepare_request(requests.Request("GET", self._url))
        settings = self._session.merge_environment_settings(self._url, {}, False, None, None)
        if select_proxy(str(prepared.url), settings["proxies"]):
            return None
        return {name: prepared.headers[name] for name in _KEPT if name in prepared.headers}

    def ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: bytes | None,
        upload: Mapping[str, Any],
    ) -> RequestsReply:
        """Send one request once; raises what requests raises."""
        headers = None if body is None else JSON
        request = requests.Request(
            method,
            self._url + path,
            params=params,
            **(upload or {"data": body, "headers": headers}),
        )
        prepared = self._session.prepare_request(request)
        answered: list[int] = []
        prepared.hooks["response"] = [lambda got, **_: answered.append(got.status_code)]
        settings = self._session.merge_environment_settings(str(prepared.url), {}, True, None, None)
        try:
            response = self._session.send(prepared, timeout=self._timeouts, **settings)
        except ValueError as error:
            if not answered:
                raise
            # The address that is wrong is one that the server gave.
            raise ProtocolError(
                f"what answers at {self._url} leads to an address that is none; check what runs "
                "there"
            ) from error
        return RequestsReply(response)


class _Pooled(Bounded):
    """What a connection of urllib3 does otherwise within bounds."""

    def _new_conn(self) -> socket.socket:
        host, port = self._dns_host, self.port  # type: ignore[attr-defined]
        try:
            sock = connected(host, port, self.bounds, self.timeout)  # type: ignore[attr-defined]
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"no connection to {host} in time") from error
        except (OSError, UnicodeError) as error:
            raise NewConnectionError(self, f"no connection to {host}: {error}") from error  # type: ignore[arg-type]
        # TLS greets within what is left.
        sock.settimeout(self.bounds.left_to_request(self.timeout))  # type: ignore[attr-defined]
        return sock


class BoundedAdapter(HTTPAdapter):
    """Lets requests open connections within bounds, through proxies, too."""

    def __init__(self, bounds: Bounds) -> None:
        kept = {"bounds": bounds, "response_class": staticmethod(partial(bounded_response, bounds))}
        plain = type("Plain", (_Pooled, HTTPConnection), kept)
        secret = type("Secret", (_Pooled, HTTPSConnection), kept)
        self._pools = {
            "http": type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("SecretPool", (HTTPSConnectionPool,), {"ConnectionCls": secret}),
        }
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*arguments, **named)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: Any, **named: Any) -> Any:
        """Make the pools of connections through a proxy; SOCKS has its own kind."""
        manager = super().proxy_manager_for(proxy, **named)
        if not str(proxy).lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._pools
        return manager
