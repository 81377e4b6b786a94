"""Requests go the short way where it is the same, and through requests where only that will do."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from orchestrator.client.wire import AddressNotFound, BadRequest, Timeouts, Wire
from orchestrator.errors import (
    BadValue,
    ProtocolError,
    ServerError,
    ServerFailed,
    ServerLost,
    ServerUnreachable,
)
from orchestrator.local.process import free_port, python_environment

QUICK = Timeouts(connect=2.0, read=2.0)


class Site(ThreadingHTTPServer):
    """A server that notes what it is asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        # headers of each request, by name in lower case
        self.asked: list[dict[str, str]] = []
        self.connections: set[int] = set()
        self.closed = threading.Semaphore(0)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.closed.release()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Site

    def do_GET(self) -> None:
        self.server.asked.append({name.lower(): value for name, value in self.headers.items()})
        self.server.connections.add(self.client_address[1])
        path = self.path.partition("?")[0]
        if path == "/moved":
            self._answer(302, b"", {"Location": "/here"})
        elif path == "/cookie":
            self._answer(200, b'{"a": 1}', {"Set-Cookie": "who=me"})
        elif path == "/farewell":
            self._answer(200, b"{}")
            self.close_connection = True
        elif path == "/half":
            self._answer(200, b"{}", {"Content-Length": "20"})
            self.close_connection = True
        elif path[1:].isdigit():
            self._answer(int(path[1:]), b"no")
        else:
            self._answer(200, json.dumps({"path": self.path}).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append({name.lower(): value for name, value in self.headers.items()})
        self._answer(200, body)

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def wire(site: Site) -> Iterator[Wire]:
    made = Wire(site.url, QUICK)
    yield made
    made.close()


def test_one_connection_carries_all_requests(site: Site, wire: Wire) -> None:
    for number in range(3):
        path = wire.json("GET", "/here", params={"n": str(number), "name": "ü/&"})["path"]
        assert path == f"/here?n={number}&name=%C3%BC%2F%26"
    assert wire.json("POST", "/x", json={"é": [1, None]}) == {"é": [1, None]}
    assert site.asked[-1]["content-type"] == "application/json"
    assert len(site.connections) == 1


def test_a_connection_that_the_server_has_ended_is_replaced(site: Site, wire: Wire) -> None:
    for _ in range(3):
        assert wire.json("GET", "/farewell") == {}
        assert site.closed.acquire(timeout=10)
    assert len(site.connections) == 3


def test_half_an_answer_is_no_answer(wire: Wire) -> None:
    with pytest.raises(ServerLost):
        wire.json("GET", "/half")
    assert wire.json("GET", "/here")["path"] == "/here"


def test_a_redirect_is_followed(wire: Wire) -> None:
    assert wire.json("GET", "/moved")["path"] == "/here"


def test_a_cookie_is_given_back(site: Site, wire: Wire) -> None:
    assert wire.json("GET", "/cookie") == {"a": 1}
    wire.json("GET", "/cookie")
    wire.json("GET", "/here")
    assert site.asked[-1]["cookie"] == "who=me"


def test_a_login_in_the_address_is_sent_and_we_say_who_we_are(site: Site) -> None:
    wire = Wire(site.url.replace("//", "//ann:s%3Dt@"), QUICK)
    wire.json("GET", "/here")
    wire.close()
    given = site.asked[-1]["authorization"]
    assert given == f"Basic {base64.b64encode(b'ann:s=t').decode()}"
    assert site.asked[-1]["user-agent"]


def test_a_proxy_of_the_environment_is_used_except_on_this_machine(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", site.url)
    monkeypatch.setenv("no_proxy", "")
    far = Wire("http://far.example:8188", QUICK)
    assert far.json("GET", "/here")["path"] == "http://far.example:8188/here"
    far.close()
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    near = Wire(site.url, QUICK)
    assert near.json("GET", "/here")["path"] == "/here"
    near.close()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (304, ProtocolError),
        (400, BadRequest),
        (401, ServerError),
        (403, ServerError),
        (404, AddressNotFound),
        (408, ServerFailed),
        (418, ProtocolError),
        (425, ServerFailed),
        (429, ServerFailed),
        (500, ServerFailed),
        (503, ServerFailed),
    ],
)
def test_every_answer_but_a_success_is_an_error_of_its_kind(
    wire: Wire, status: int, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as caught:
        wire.send("GET", f"/{status}")
    assert type(caught.value) is kind


def test_a_request_is_repeated_as_often_as_was_said_and_after_the_pauses_that_were_said(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[float] = []
    monkeypatch.setattr("orchestrator.client.wire.time.sleep", paused.append)
    wire = Wire(site.url, Timeouts(tries=4, delays=lambda: iter([1.0, 2.0, 3.0, 4.0])))
    with pytest.raises(ServerFailed):
        wire.patiently(lambda: wire.send("GET", "/503"))
    assert len(site.asked) == 4
    assert paused == [1.0, 2.0, 3.0]
    with pytest.raises(AddressNotFound):
        wire.patiently(lambda: wire.send("GET", "/404"))
    # No other try would help.
    assert len(site.asked) == 5
    wire.close()


def test_faults_are_ours(wire: Wire) -> None:
    with pytest.raises(AddressNotFound):
        wire.send("GET", "/404")
    with pytest.raises(ServerUnreachable):
        Wire(f"http://127.0.0.1:{free_port()}", QUICK).send("GET", "/")
    with pytest.raises(BadValue):
        Wire(f"http://{'a' * 70}.example", QUICK).send("GET", "/")
    with pytest.raises(ProtocolError):
        wire.json("POST", "/x", json={"a": float("nan")})


def test_a_server_of_this_machine_is_asked_without_loading_requests() -> None:
    script = """
import http.server, sys, threading
import orchestrator.library
from orchestrator.client.wire import Timeouts, Wire

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *words):
        pass

server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
wire = Wire(f"http://127.0.0.1:{server.server_port}", Timeouts())
assert wire.json("GET", "/") == {}
heavy = {"requests", "urllib3", "PIL", "pydantic", "rich", "numpy", "torch"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **python_environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
