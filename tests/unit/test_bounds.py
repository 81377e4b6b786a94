"""No request takes longer, and brings more, than it may, however its server goes about it."""

from __future__ import annotations

import gzip
import hashlib
import io
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from orchestrator.client.bounds import AnswerTooLarge, Bounds
from orchestrator.client.client import Client
from orchestrator.client.wire import Timeouts, Wire
from orchestrator.errors import (
    JobTimedOut,
    ProtocolError,
    ServerError,
    ServerLost,
    ServerUnreachable,
)
from orchestrator.local.process import free_port
from orchestrator.protocol import FileRef

QUICK = Timeouts(
    connect=2.0, read=1.0, total=1.0, transfer=1.0, tries=2, delays=lambda: repeat(0.01)
)
# for what is to come to its end, on a busy machine, too
ROOMY = replace(QUICK, connect=20.0, read=20.0, total=20.0, transfer=20.0)
# s that a machine with other work may take on top
SLACK = 15.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
Handler = Callable[[socket.socket], None]


@contextmanager
def serving(handler: Handler) -> Iterator[str]:
    """The address of a server that treats each connection so; its socket is closed after."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(0.05)
    done = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                handler(connection)
            except OSError:
                return

    def accept() -> None:
        while not done.is_set():
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                continue
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        done.set()
        thread.join()
        listening.close()


def asked(connection: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(1 << 16)


def dripping(data: bytes, *, before: bytes = b"") -> Handler:
    def drip(connection: socket.socket) -> None:
        asked(connection)
        connection.sendall(before)
        while True:
            for number in range(len(data)):
                connection.sendall(data[number : number + 1])
                time.sleep(0.1)

    return drip


def saying(data: bytes) -> Handler:
    def say(connection: socket.socket) -> None:
        asked(connection)
        connection.sendall(data)

    return say


def silent(connection: socket.socket) -> None:
    time.sleep(30)


def never_reading(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
    time.sleep(30)


def took(action: Callable[[], Any]) -> tuple[float, BaseException | None]:
    began = time.monotonic()
    try:
        action()
    except ServerError as error:
        return time.monotonic() - began, error
    except JobTimedOut as error:
        return time.monotonic() - began, error
    return time.monotonic() - began, None


SLOW: dict[str, Handler] = {
    "silent": silent,
    "status": dripping(b"HTTP/1.1 200 OK"),
    "header": dripping(b"a", before=HEAD + b"X-Long: "),
    "continue": dripping(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": dripping(b" ", before=HEAD + b"Content-Length: 1000\r\n\r\n"),
    "chunks": dripping(b"1\r\n \r\n", before=HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
    "trailer": dripping(
        b"X: y\r\n", before=HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    ),
    "until the end": dripping(b" ", before=HEAD + b"Connection: close\r\n\r\n"),
}


@pytest.mark.parametrize("way", ["direct", "requests"])
def test_no_answer_takes_longer_than_its_total(way: str) -> None:
    def ask(handler: Handler) -> tuple[float, BaseException | None]:
        with serving(handler) as url, closing(Wire(url, QUICK)) as wire:
            if way == "requests":
                wire._direct = None
            return took(lambda: wire.json("GET", "/queue"))

    with ThreadPoolExecutor(len(SLOW)) as pool:
        found = dict(zip(SLOW, pool.map(ask, SLOW.values()), strict=True))
    for name, (seconds, error) in found.items():
        assert isinstance(error, ServerLost), name
        assert seconds < QUICK.total + SLACK, name


@pytest.mark.parametrize("way", ["direct", "requests"])
def test_all_ends_with_what_it_is_a_part_of(way: str) -> None:
    """The time of the whole counts before that of one request, for pauses between tries, too."""
    patient = replace(QUICK, read=60.0, total=60.0, transfer=60.0, tries=9)

    def ask(handler: Handler) -> tuple[float, BaseException | None]:
        with serving(handler) as url, Client(url, timeouts=patient) as client:
            if way == "requests":
                client._wire._direct = None
            with client.until(time.monotonic() + 1.0):
                return took(client.queue)

    handlers = [*SLOW.values(), saying(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")]
    with ThreadPoolExecutor(len(handlers)) as pool:
        found = list(pool.map(ask, handlers))
    for seconds, error in found[:-1]:
        assert isinstance(error, JobTimedOut)
        assert seconds < 1.0 + SLACK
    # Nine tries are soon over where each answer comes at once.
    assert isinstance(found[-1][1], ServerError)


def test_a_pause_between_tries_ends_with_what_it_is_a_part_of() -> None:
    long = replace(QUICK, delays=lambda: repeat(60.0))
    with Client(f"http://127.0.0.1:{free_port()}", timeouts=long) as client:
        with client.until(time.monotonic() + 0.5):
            seconds, error = took(client.queue)
        assert isinstance(error, JobTimedOut)
        assert "--timeout" in str(error)
        assert seconds < 0.5 + SLACK
        # Once it is over nothing more is sent.
        with client.until(time.monotonic() - 1.0), pytest.raises(JobTimedOut):
            client.system_stats()


def test_of_two_deadlines_the_earlier_holds_and_cancelling_has_its_own() -> None:
    bounds = Bounds("http://host")
    with bounds.until(time.monotonic() + 10.0):
        with bounds.until(time.monotonic() + 90.0):
            assert bounds.left() < 11.0
        with bounds.within(90.0):
            assert bounds.left() > 80.0
        assert bounds.left(0.25) == 0.25
    with serving(silent) as url, Client(url, timeouts=replace(QUICK, total=60.0)) as client:
        with client.until(time.monotonic() - 1.0):
            seconds, error = took(lambda: client.cancel("x", within=0.5))
        assert isinstance(error, ServerLost)
        assert seconds < 0.5 + SLACK


def test_who_does_not_take_what_is_sent_is_not_waited_for() -> None:
    with serving(never_reading) as url, closing(Wire(url, QUICK)) as wire:
        upload = {"data": {}, "files": {"image": ("a.png", bytes(30 << 20))}}
        for action in (
            lambda: wire.send("POST", "/prompt", json="x" * (30 << 20)),
            lambda: wire.send("POST", "/upload/image", **upload),
        ):
            seconds, error = took(action)
            assert isinstance(error, ServerLost)
            assert seconds < 1.0 + SLACK


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_is_waited_for_no_longer(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for handler in (silent, dripping(b"x", before=b"HTTP/1.1 200 OK\r\nX: ")):
        with serving(handler) as proxy:
            monkeypatch.setenv(f"{scheme}_proxy", proxy)
            monkeypatch.setenv("no_proxy", "")
            with closing(Wire(f"{scheme}://far.example:8188", QUICK)) as wire:
                seconds, error = took(lambda wire=wire: wire.json("GET", "/queue"))
            assert isinstance(error, ServerError)
            assert seconds < QUICK.total + SLACK


def test_tls_changes_nothing(repository: Path) -> None:
    certificate = str(repository / "tests" / "data" / "loopback.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)

    def behind_tls(handler: Handler) -> Handler:
        def handle(connection: socket.socket) -> None:
            with tls.wrap_socket(connection, server_side=True) as secret:
                handler(secret)

        return handle

    def ask(handler: Handler) -> tuple[float, BaseException | None]:
        with serving(handler) as url, closing(Wire(f"https{url[4:]}", QUICK)) as wire:
            wire._by_requests()._session.verify = certificate
            return took(lambda: wire.send("POST", "/x", json="x" * (20 << 20)))

    def dripping_greeting(connection: socket.socket) -> None:
        connection.sendall(b"\x16\x03\x03\x00\x40")
        while True:
            connection.sendall(b"x")
            time.sleep(0.1)

    slow = [
        behind_tls(SLOW["silent"]),
        behind_tls(SLOW["body"]),
        behind_tls(never_reading),
        SLOW["silent"],
        dripping_greeting,
    ]
    with ThreadPoolExecutor(len(slow)) as pool:
        for seconds, error in pool.map(ask, slow):
            assert isinstance(error, ServerLost | ServerUnreachable)
            assert seconds < QUICK.total + SLACK


# ------------------------------------------------------------------------------ size


def flooding(before: bytes, piece: bytes) -> Handler:
    def flood(connection: socket.socket) -> None:
        asked(connection)
        connection.sendall(before)
        while True:
            connection.sendall(piece)

    return flood


LARGE: dict[str, Handler] = {
    "announced": saying(HEAD + b"Content-Length: 99999999999\r\n\r\n{}"),
    "absurd": saying(HEAD + b"Content-Length: " + b"9" * 3000 + b"\r\n\r\n{}"),
    "chunks": flooding(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65536 + b"\r\n"
    ),
    "until the end": flooding(HEAD + b"Connection: close\r\n\r\n", b" " * 65536),
    "continue": flooding(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "squeezed": saying(
        HEAD
        + b"Connection: close\r\nContent-Encoding: gzip\r\n\r\n"
        + gzip.compress(bytes(50 << 20))
    ),
}


@pytest.mark.parametrize("way", ["direct", "requests"])
@pytest.mark.parametrize("name", LARGE)
def test_no_more_is_taken_than_was_said(name: str, way: str) -> None:
    with serving(LARGE[name]) as url, closing(Wire(url, ROOMY)) as wire:
        if way == "requests":
            wire._direct = None
        with pytest.raises(AnswerTooLarge, match="1,000,000 bytes"):
            wire.send("GET", "/queue", limit=1_000_000)
        sink = io.BytesIO()
        with pytest.raises(AnswerTooLarge):
            wire.fetch("/view", {}, sink, limit=1_000_000)
        assert len(sink.getvalue()) <= 1_000_000


@pytest.mark.parametrize("way", ["direct", "requests"])
def test_what_was_squeezed_is_unpacked_and_must_be_whole(way: str) -> None:
    squeezed = gzip.compress(b'{"a": [1]}' + b" " * 1_000_000)
    answers = iter(
        [
            (b"gzip", squeezed),
            (b"gzip", squeezed[:-9]),
            (b"gzip", b"no gzip"),
            (b"br", squeezed),
        ]
    )

    def answer(connection: socket.socket) -> None:
        asked(connection)
        encoding, body = next(answers)
        head = b"Content-Encoding: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        connection.sendall(HEAD + head % (encoding, len(body)) + body)

    with serving(answer) as url, closing(Wire(url, ROOMY)) as wire:
        if way == "requests":
            wire._direct = None
        assert wire.json("GET", "/queue") == {"a": [1]}
        with pytest.raises(ServerLost):
            wire.json("GET", "/queue")
        for _ in range(2):
            with pytest.raises(ProtocolError):
                wire.json("GET", "/queue")


def test_a_server_that_leads_elsewhere_is_at_fault_for_where() -> None:
    places = iter([b"http://[x", b"nothing://there", b"http://" + b"a" * 80 + b".example/", b"/x"])
    answer = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nConnection: close\r\nLocation: "
    where = {"now": b""}

    def lead(connection: socket.socket) -> None:
        asked(connection)
        connection.sendall(answer + where["now"] + b"\r\n\r\n")

    with serving(lead) as url, closing(Wire(url, QUICK)) as wire:
        for place in places:
            where["now"] = place
            with pytest.raises(ServerError):
                wire.json("GET", "/queue")


# ------------------------------------------------------------------------------ files


def test_a_file_is_fetched_whole_at_another_try_and_hashed() -> None:
    answers = iter(
        [
            HEAD + b"Content-Length: 10\r\n\r\nabc",
            HEAD + b"Content-Length: 5\r\n\r\nwhole",
        ]
    )

    def answer(connection: socket.socket) -> None:
        asked(connection)
        connection.sendall(next(answers))

    sink = io.BytesIO(b"before")
    sink.seek(0, io.SEEK_END)
    with serving(answer) as url, Client(url, timeouts=ROOMY) as client:
        fetched = client.fetch(FileRef(filename="a.png"), sink)
    assert sink.getvalue() == b"beforewhole"
    assert fetched.bytes == 5
    assert fetched.sha256 == hashlib.sha256(b"whole").hexdigest()


def test_what_the_sink_raises_is_no_fault_of_the_server() -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

    ok = saying(HEAD + b"Content-Length: 5\r\n\r\nwhole")
    with serving(ok) as url, Client(url, timeouts=ROOMY) as client:
        with pytest.raises(OSError, match="No space"):
            client.fetch(FileRef(filename="a.png"), Full())
        with pytest.raises(AnswerTooLarge):
            client.fetch(FileRef(filename="a.png"), io.BytesIO(), limit=4)
        assert client.content(FileRef(filename="a.png")) == b"whole"


# ------------------------------------------------------------------------------ connecting


def test_a_name_server_that_takes_its_time_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask = socket.getaddrinfo
    over = threading.Event()

    def slowly(host: Any, *rest: Any) -> Any:
        if socket.AI_NUMERICHOST not in rest:
            over.wait(20.0)
        return ask(host, *rest)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    for way in ("direct", "requests"):
        with closing(Wire("http://slow.example", replace(QUICK, connect=0.5))) as wire:
            if way == "requests":
                wire._direct = None
            seconds, error = took(lambda wire=wire: wire.json("GET", "/queue"))
        assert isinstance(error, ServerUnreachable)
        assert seconds < 0.5 + SLACK
    over.set()
