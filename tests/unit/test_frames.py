"""The bytes of a WebSocket are cut into the messages that a server sent, however they arrive."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.frames import Opcode as Theirs

from orchestrator.client.frames import LARGEST, Frames, Opcode
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


def sent(final: bool, opcode: int, payload: bytes) -> bytes:
    # websockets refuses control frames above 125 bytes; they are cut all the same
    return Frame(Theirs(opcode), payload, final).serialize(mask=False)


def fed(frames: Frames, data: bytes, step: int) -> list[tuple[int, bytes]]:
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    return [message for piece in pieces for message in frames.feed(piece)]


@settings(max_examples=40)
@given(st.lists(PLAIN, max_size=3), st.sampled_from([1, 3, 100, 5000, 1000000]))
def test_messages_arrive_whole_in_whatever_pieces(
    messages: list[tuple[bool, int, bytes]], step: int
) -> None:
    wanted = [
        (opcode if len(payload) < 126 else Opcode.BINARY, payload)
        for _, opcode, payload in messages
    ]
    data = b"".join(sent(True, opcode, payload) for opcode, payload in wanted)
    assert fed(Frames(), data, step) == wanted


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_fragments_are_put_together_around_a_ping(step: int) -> None:
    data = b"".join(
        [
            sent(False, Opcode.TEXT, "hé".encode()),
            sent(True, Opcode.PING, b"?"),
            sent(False, Opcode.CONTINUATION, b""),
            sent(True, Opcode.CONTINUATION, b"llo"),
            sent(True, Opcode.BINARY, b"next"),
        ]
    )
    assert fed(Frames(), data, step) == [
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
        b"HTTP/1.1 502 Bad Gateway",
        sent(True, Opcode.CONTINUATION, b"of nothing"),
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
        Frames().feed(data)


def test_a_message_is_no_larger_for_coming_in_fragments() -> None:
    frames = Frames()
    piece = sent(False, Opcode.CONTINUATION, bytes(LARGEST // 4))
    frames.feed(sent(False, Opcode.BINARY, b"x"))
    for _ in range(3):
        assert frames.feed(piece) == []
    with pytest.raises(ProtocolError, match="67,108,864"):
        frames.feed(piece)


def test_fragments_without_a_byte_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.client.frames.LARGEST", 10_000)
    frames = Frames()
    frames.feed(sent(False, Opcode.BINARY, b""))
    with pytest.raises(ProtocolError):
        frames.feed(10_001 * sent(False, Opcode.CONTINUATION, b""))
