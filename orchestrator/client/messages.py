"""The messages in the bytes that a WebSocket brings (RFC 6455, section 5), with no I/O.

websockets' sans-I/O `Protocol` reads the frames; messages are put together here. websocket-client
opens the connection and could read it, too. It takes a message of any size, masked frames and long
pings, though, and reads three times a message where one read brings all that has arrived.

CPU a message, read from TCP on loopback with a timeout (two cores, load 1 to 7, Python 3.11,
websockets 17.4, websocket-client 1.9.2, wsproto 1.3.2; median of ten runs, and their range):

================  ========================  ========================  =========================
us                200 bytes, 15 at once     200 bytes, one by one     1 MiB
================  ========================  ========================  =========================
websockets        3.9 (3.7 to 4.7)          17.8 (17.6 to 18.9)       284 (242 to 1001)
wsproto           9.1 (8.6 to 12.3)         24.2 (23.6 to 29.3)       369 (337 to 436)
websocket-client  14.2 (13.5 to 18.7)       24.7 (24.1 to 26.6)       467 (295 to 554)
================  ========================  ========================  =========================

A parser of our own took 2.4, 14.8 and 294 us, which is no reason to keep one.
"""

from __future__ import annotations

from websockets.exceptions import PayloadTooBig
from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.protocol import Protocol, Side

from ..errors import ProtocolError

# Bytes of one message, all its fragments together. The largest honest ones are pictures.
LARGEST = 64 << 20


class Messages:
    """What a server has sent over one WebSocket, and what it must be answered."""

    def __init__(self) -> None:
        self._protocol = Protocol(Side.CLIENT, max_size=LARGEST)
        # the message that is under way in fragments
        self._kind = Opcode.TEXT
        self._fragments = bytearray()

    def feed(self, data: bytes) -> tuple[int, list[tuple[Opcode, bytes]]]:
        """Return how many frames end with `data`, and (opcode, payload) of each whole message.

        Pings, pongs and a close are messages, too. Raises ProtocolError where this is no WebSocket,
        or a message of more than LARGEST bytes; nothing more may be fed then.
        """
        self._protocol.receive_data(data)
        # Protocol's events are only frames once the connection is open.
        frames = [frame for frame in self._protocol.events_received() if isinstance(frame, Frame)]
        error = self._protocol.parser_exc
        if isinstance(error, PayloadTooBig):
            raise ProtocolError(f"a WebSocket message has more than {LARGEST:,} bytes") from error
        if error is not None:
            raise ProtocolError(f"a WebSocket brings what no server sends: {error}") from error
        messages = [self._whole(frame) for frame in frames]
        return len(frames), [message for message in messages if message is not None]

    def answer(self) -> bytes:
        """Return what must be sent for what was fed: the pongs, and a close for a close."""
        return b"".join(self._protocol.data_to_send())

    def _whole(self, frame: Frame) -> tuple[Opcode, bytes] | None:
        """Return the message that ends with `frame`; the protocol has seen to their order."""
        if frame.opcode not in DATA_OPCODES or (frame.fin and frame.opcode is not Opcode.CONT):
            return frame.opcode, bytes(frame.data)
        if frame.opcode is not Opcode.CONT:
            self._kind = frame.opcode
        self._fragments += frame.data
        if not frame.fin:
            return None
        whole = bytes(self._fragments)
        self._fragments.clear()
        return self._kind, whole
