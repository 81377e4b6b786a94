"""The WebSocket as a hint: heard, answered, dropped and opened again, against a real server."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from types import SimpleNamespace

import pytest
from websockets.frames import Opcode
from websockets.sync.server import ServerConnection, serve

from orchestrator.client.listener import Listener
from orchestrator.client.wire import Timeouts
from orchestrator.errors import JobTimedOut
from orchestrator.protocol import Event, QueueStatus, encode_event

FAST = Timeouts(connect=10.0, delays=lambda: itertools.repeat(0.0))
# s, for which what must come is waited for
LONG = 10.0


def status(remaining: int) -> str:
    text = encode_event(QueueStatus(queue_remaining=remaining))
    assert isinstance(text, str)
    return text


@contextmanager
def serving(handler: Callable[[ServerConnection], None]) -> Iterator[str]:
    """The address of a server that treats each connection so."""
    with serve(handler, "127.0.0.1", 0, ping_interval=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            host, port = server.socket.getsockname()
            yield f"http://{host}:{port}"
        finally:
            server.shutdown()
            thread.join()


def heard(listener: Listener) -> Event:
    event = listener.hear(LONG)
    assert event is not None
    return event


def test_pings_are_answered_with_what_they_carry() -> None:
    """A server or a proxy that gets no answer takes the client for dead and drops it."""
    answered = threading.Event()

    def ping(connection: ServerConnection) -> None:
        connection.recv()
        pong = connection.ping("are you there?")
        connection.send(status(1))
        # It counts only with the same payload.
        if pong.wait(LONG):
            answered.set()
        connection.send(status(2))

    with serving(ping) as url, closing(Listener(url, FAST)) as listener:
        assert heard(listener) == QueueStatus(queue_remaining=1)
        assert heard(listener) == QueueStatus(queue_remaining=2)
    assert answered.is_set()


def test_a_connection_that_ends_is_opened_again_under_another_id_with_nothing_left_of_it() -> None:
    """What a cut connection sent of a message is no part of the next one's."""
    ids: list[str] = []

    def cut(connection: ServerConnection) -> None:
        assert connection.request is not None
        ids.append(connection.request.path)
        connection.recv()
        if len(ids) == 1:
            connection.send(status(1))
            # The first half of a message: its header promises more than comes.
            connection.socket.sendall(b"\x81\x7e\x01\x00half")
            connection.socket.shutdown(socket.SHUT_RDWR)
        else:
            connection.send(status(2))
            connection.recv()

    with serving(cut) as url, closing(Listener(url, FAST)) as listener:
        assert heard(listener) == QueueStatus(queue_remaining=1)
        assert heard(listener) == QueueStatus(queue_remaining=2)
        listener.close()
    assert len(set(ids)) == len(ids) == 2


def test_a_server_that_says_goodbye_is_connected_to_again() -> None:
    said = threading.Event()

    def goodbye(connection: ServerConnection) -> None:
        connection.recv()
        if not said.is_set():
            said.set()
            # The frame alone: the connection itself stays open.
            connection.socket.sendall(b"\x88\x02\x03\xe8")
            ended.wait(LONG)
            return
        connection.send(status(5))
        connection.recv()

    ended = threading.Event()
    with serving(goodbye) as url, closing(Listener(url, FAST)) as listener:
        try:
            assert heard(listener) == QueueStatus(queue_remaining=5)
        finally:
            ended.set()
            listener.close()
    assert said.is_set()


@pytest.mark.parametrize("nonsense", ["{", "[1, 2]", b"\x00"])
def test_what_cannot_be_read_is_one_hint_less(nonsense: str | bytes) -> None:
    def talk(connection: ServerConnection) -> None:
        connection.recv()
        connection.send(nonsense)
        # text that is none: a frame of websockets would refuse to be made of it
        connection.socket.sendall(b"\x81\x02\xff\xfe")
        connection.send(status(3))
        connection.recv()

    with serving(talk) as url, closing(Listener(url, FAST)) as listener:
        found = [listener.hear(LONG) for _ in range(2)]
        assert found == [None, QueueStatus(queue_remaining=3)]
        listener.close()


def test_a_server_that_refuses_is_left_alone_for_the_pause_that_was_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[float] = []
    now = 100.0

    def refuse(self: Listener, ours: object, client_id: str) -> None:
        tried.append(now)
        raise ConnectionRefusedError

    monkeypatch.setattr(Listener, "_connect", refuse)
    monkeypatch.setattr("orchestrator.client.listener.time", SimpleNamespace(monotonic=lambda: now))
    timeouts = Timeouts(delays=lambda: iter([1.0, 4.0, 9.0]))
    listener = Listener("http://127.0.0.1:9", timeouts)
    for now in (100.0, 100.5, 101.0, 104.5, 105.0, 110.0):  # noqa: B007  (read by the clock)
        listener.open()
        assert not listener.connected
    assert tried == [100.0, 101.0, 105.0]


# ------------------------------------------------------------------------------ hostile servers


@contextmanager
def bare(handler: Callable[[socket.socket], None]) -> Iterator[str]:
    """The address of a server that treats each connection so, on the socket itself."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = door.accept()
                    threading.Thread(target=handle, args=(connection,), daemon=True).start()

        def handle(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                handler(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{door.getsockname()[1]}"


def drip(connection: socket.socket) -> None:
    connection.recv(4096)
    for byte in b"HTTP/1.1 101 Switching Protocols\r\n" + b"X: y\r\n" * 1000:
        connection.sendall(bytes([byte]))
        ended.wait(0.1)


def stay_silent(connection: socket.socket) -> None:
    ended.wait(LONG)


ended = threading.Event()


@pytest.mark.parametrize("handler", [drip, stay_silent])
def test_nobody_waits_longer_for_a_greeting_than_they_want_to(
    handler: Callable[[socket.socket], None],
) -> None:
    slow = Timeouts(connect=4.0, delays=lambda: itertools.repeat(60.0))
    with bare(handler) as url, closing(Listener(url, slow)) as listener:
        began = time.monotonic()
        assert listener.hear(0.3) is None
        assert time.monotonic() - began < LONG
        # The same opening goes on, and is given up in its own time.
        threads = threading.active_count()
        listener.open()
        assert not listener.connected
        assert time.monotonic() - began < 4.0 + LONG
        # Its thread ends, and there is no other try before the pause is over.
        until = time.monotonic() + LONG
        while threading.active_count() >= threads and time.monotonic() < until:
            time.sleep(0.05)
        assert threading.active_count() < threads
        began = time.monotonic()
        listener.open()
        assert time.monotonic() - began < LONG


def test_an_opening_ends_with_the_time_of_the_whole() -> None:
    def left() -> float:
        now = time.monotonic()
        if now >= late:
            raise JobTimedOut("over")
        return late - now

    late = time.monotonic() + 0.3
    with bare(stay_silent) as url, closing(Listener(url, FAST, left=left)) as listener:
        listener.open()
        with pytest.raises(JobTimedOut):
            listener.open()
        assert time.monotonic() - late < LONG


def flooding(data: bytes) -> Callable[[ServerConnection], None]:
    def flood(connection: ServerConnection) -> None:
        connection.recv()
        if data[0] == Opcode.CONT:
            connection.socket.sendall(b"\x01\x00")
        with suppress(OSError):
            while True:
                connection.socket.sendall(data)

    return flood


SMALL = b"\x81\x02{}"


@pytest.mark.parametrize(
    ("data", "gather"),
    [
        (SMALL * 5000, 0.0),
        (SMALL * 5000, 0.01),
        (b"\x89\x00" * 5000, 0.01),
        (b"\x82\x7e\xff\xff" + bytes(65535), 0.0),
        (b"\x00\x00" * 5000, 0.0),
    ],
    ids=["texts", "texts gathered", "pings", "bytes", "fragments"],
)
def test_a_flood_is_left_alone(data: bytes, gather: float, monkeypatch: pytest.MonkeyPatch) -> None:
    # A busy machine may not manage what a fast one does.
    monkeypatch.setattr("orchestrator.client.listener._MOST_MESSAGES", 500)
    monkeypatch.setattr("orchestrator.client.listener._MOST_FRAMES", 1000)
    monkeypatch.setattr("orchestrator.client.listener._MOST_BYTES", 1 << 20)
    with serving(flooding(data)) as url, closing(Listener(url, FAST)) as listener:
        until = time.monotonic() + 6 * LONG
        listener.open()
        assert listener.connected
        while listener.connected and time.monotonic() < until:
            began = time.monotonic()
            listener.hear(0.2, gather=gather)
            assert time.monotonic() - began < LONG
        assert not listener.connected
        # A pause of its own, whatever `delays` say.
        listener.open()
        assert not listener.connected


def test_what_gathered_while_nobody_listened_is_no_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.client.listener._MOST_MESSAGES", 500)

    def talk(connection: ServerConnection) -> None:
        connection.recv()
        connection.socket.sendall(SMALL * 2000)
        for number in range(40):
            ended.wait(0.1)
            connection.send(status(number))
        connection.recv()

    with serving(talk) as url, closing(Listener(url, FAST)) as listener:
        listener.open()
        until = time.monotonic() + 3.5
        while time.monotonic() < until:
            listener.hear(0.1)
        assert listener.connected


def test_a_message_that_is_too_large_ends_the_connection_and_a_long_text_is_passed_over() -> None:
    came = []

    def talk(connection: ServerConnection) -> None:
        connection.recv()
        came.append(connection)
        if len(came) == 1:
            connection.send("[" * (9 << 20))
            connection.send(status(1))
            # what is read together with it is lost with the connection
            ended.wait(1.0)
            connection.socket.sendall(b"\x82\x7f\x40" + bytes(7))
            ended.wait(LONG)
        connection.send(status(2))
        connection.recv()

    with serving(talk) as url, closing(Listener(url, FAST)) as listener:
        try:
            until = time.monotonic() + 3 * LONG
            found: list[Event] = []
            while len(found) < 2 and time.monotonic() < until:
                event = listener.hear(1.0)
                found += [] if event is None else [event]
        finally:
            ended.set()
        assert found == [QueueStatus(queue_remaining=1), QueueStatus(queue_remaining=2)]
        listener.close()
    ended.clear()
