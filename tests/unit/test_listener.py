"""The WebSocket as a hint: heard, answered, dropped and opened again, against a real server."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from types import SimpleNamespace

import pytest
from websockets.sync.server import ServerConnection, serve

from orchestrator.client.listener import Listener
from orchestrator.client.wire import Timeouts
from orchestrator.protocol import Event, Status, encode_event

FAST = Timeouts(connect=10.0, delays=lambda: itertools.repeat(0.0))
# s, for which what must come is waited for
LONG = 10.0


def status(remaining: int) -> str:
    text = encode_event(Status(queue_remaining=remaining))
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
        assert heard(listener) == Status(queue_remaining=1)
        assert heard(listener) == Status(queue_remaining=2)
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
        assert heard(listener) == Status(queue_remaining=1)
        assert heard(listener) == Status(queue_remaining=2)
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
            assert heard(listener) == Status(queue_remaining=5)
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
        assert found == [None, Status(queue_remaining=3)]
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
