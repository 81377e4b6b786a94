"""The WebSocket as a hint: heard, answered, dropped and opened again, against a real server."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

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
