"""The bytes of a WebSocket become the messages that a server sent, however they arrive."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from orchestrator.client.messages import LARGEST, Messages
from orchestrator.errors import ProtocolError

# (final, opcode, payload) of messages that are not cut, of all lengths that are written differently
PLAIN = st.tuples(
    st.just(True),
    st.sampled_from([Opcode.TEXT, Opcode.BINARY, Opcode.PING, Opcode.PONG]),
    st.one_of(
        st.binary(max_size=125),
        st.sampled_from([126, 127, 65535, 65536, 70000]).map(bytes),
    ),
)


def sent(final: bool, opcode: Opcode, payload: bytes) -> bytes:
    return Frame(opcode, payload, final).serialize(mask=False)


def fed(messages: Messages, data: bytes, step: int) -> list[tuple[Opcode, bytes]]:
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    return [message for piece in pieces for message in messages.feed(piece)[1]]


def answered(messages: Messages) -> list[tuple[Opcode, bytes]]:
    """The frames that a server gets, which reads them as one."""
    server = Protocol(Side.SERVER)
    server.receive_data(messages.answer())
    assert server.parser_exc is None
    frames = [frame for frame in server.events_received() if isinstance(frame, Frame)]
    return [(frame.opcode, bytes(frame.data)) for frame in frames]


@settings(max_examples=40)
@given(st.lists(PLAIN, max_size=3), st.sampled_from([1, 3, 100, 5000, 1000000]))
def test_messages_arrive_whole_in_whatever_pieces(
    messages: list[tuple[bool, Opcode, bytes]], step: int
) -> None:
    wanted = [
        (opcode if len(payload) < 126 else Opcode.BINARY, payload)
        for _, opcode, payload in messages
    ]
    data = b"".join(sent(True, opcode, payload) for opcode, payload in wanted)
    assert fed(Messages(), data, step) == wanted


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_fragments_are_put_together_around_a_ping(step: int) -> None:
    data = b"".join(
        [
            sent(False, Opcode.TEXT, "hé".encode()),
            sent(True, Opcode.PING, b"?"),
            sent(False, Opcode.CONT, b""),
            sent(True, Opcode.CONT, b"llo"),
            sent(True, Opcode.BINARY, b"next"),
        ]
    )
    assert fed(Messages(), data, step) == [
        (Opcode.PING, b"?"),
        (Opcode.TEXT, "héllo".encode()),
        (Opcode.BINARY, b"next"),
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"\x81\x85masked",
        b"\xc1\x01x",
        b"\x83\x01x",
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n" + b"<html> and so on" * 9,
        sent(True, Opcode.CONT, b"of nothing"),
        sent(False, Opcode.TEXT, b"a") + sent(True, Opcode.TEXT, b"b"),
        # control frames are short and whole
        b"\x89\x7e\x00\x80" + b"x" * 128,
        b"\x09\x01x",
        # a message of 2**62 bytes, of which none need come
        b"\x82\x7f\x40" + bytes(7),
        b"\x82\x7f" + (LARGEST + 1).to_bytes(8, "big"),
    ],
)
def test_what_is_no_websocket_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Messages().feed(data)


def test_what_comes_before_a_close_is_heard_and_nothing_after_it() -> None:
    data = sent(True, Opcode.TEXT, b"a") + b"\x88\x02\x03\xe8" + sent(True, Opcode.TEXT, b"b")
    messages = Messages()
    assert messages.feed(data) == (2, [(Opcode.TEXT, b"a"), (Opcode.CLOSE, b"\x03\xe8")])
    assert answered(messages) == [(Opcode.CLOSE, b"\x03\xe8")]


def test_pings_are_answered_in_order_and_masked() -> None:
    messages = Messages()
    pings = [b"", b"x" * 125]
    messages.feed(b"".join(sent(True, Opcode.PING, ping) for ping in pings))
    assert answered(messages) == [(Opcode.PONG, ping) for ping in pings]
    assert messages.answer() == b""


def test_a_message_is_no_larger_for_coming_in_fragments() -> None:
    messages = Messages()
    piece = sent(False, Opcode.CONT, bytes(LARGEST // 4))
    messages.feed(sent(False, Opcode.BINARY, b"x"))
    for _ in range(3):
        assert messages.feed(piece) == (1, [])
    with pytest.raises(ProtocolError, match="67,108,864"):
        messages.feed(piece)


def test_a_message_of_the_largest_size_is_whole_and_the_next_one_counts_anew() -> None:
    messages = Messages()
    for _ in range(2):
        assert messages.feed(sent(False, Opcode.BINARY, bytes(LARGEST // 2))) == (1, [])
        assert messages.feed(sent(True, Opcode.CONT, bytes(LARGEST // 2))) == (
            1,
            [(Opcode.BINARY, bytes(LARGEST))],
        )


def test_fragments_without_a_byte_are_counted_and_cost_no_memory() -> None:
    messages = Messages()
    assert messages.feed(sent(False, Opcode.BINARY, b"")) == (1, [])
    many = 10_000 * sent(False, Opcode.CONT, b"")
    messages.feed(many)
    tracemalloc.start()
    try:
        assert messages.feed(many) == (10_000, [])
        assert tracemalloc.get_traced_memory()[0] < len(many)
    finally:
        tracemalloc.stop()
