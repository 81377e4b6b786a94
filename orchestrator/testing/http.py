"""HTTP and WebSocket of the fake server in testing.py: the standard library and websockets' codec.

One thread a connection. Faults cut connections and spoil answers, which is why this is written on
sockets and not on a web framework.
"""

from __future__ import annotations

import base64
import hashlib
import json
import select
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from websockets.frames import Opcode
from websockets.protocol import Protocol as Codec
from websockets.protocol import Side, State

from ..errors import ProtocolError
from ..protocol import Event, FeatureFlags, decode_event, encode_event

# RFC 6455: what a server appends to the client's key to show that it understood.
_WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Fault(Enum):
    """What may happen to a request instead of an orderly answer."""

    # the connection breaks before the server has acted
    RESET_BEFORE = "reset before"
    # the server acts, and the connection breaks before it answers
    RESET_AFTER = "reset after"
    # the server acts, and half of its answer arrives
    TRUNCATED = "truncated"
    # the server acts, and answers {}, as if it knew nothing
    EMPTY = "empty"
    ERROR_500 = "500"
    # the server's own validation refuses node 1
    REFUSED = "400"
    NOT_FOUND = "404"
    # an answer of something that is no ComfyUI
    HTML = "html"


@dataclass(frozen=True, kw_only=True)
class HttpRequest:
    """One HTTP request, decoded."""

    method: str
    # without a leading /api
    path: str
    query: Mapping[str, str]
    body: bytes
    headers: Message

    def json(self) -> Any:
        """Decode the body; an empty one is {}."""
        return json.loads(self.body or b"{}")

    def form(self) -> tuple[dict[str, str], str, bytes]:
        """Decode a multipart upload: its fields, and the name and content of its file."""
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        fields, name, content = {}, "", b""
        for part in BytesParser().parsebytes(head + self.body).get_payload():
            assert isinstance(part, Message)
            data = part.get_payload(decode=True)
            assert isinstance(data, bytes)
            if (filename := part.get_filename()) is not None:
                name, content = filename, data
            else:
                field = part.get_param("name", header="content-disposition")
                fields[str(field)] = data.decode()
        return fields, name, content


@dataclass(frozen=True, kw_only=True)
class HttpAnswer:
    """What goes back."""

    body: bytes = b""
    status: int = 200
    type: str = "application/json"


def json_answer(data: Any, status: int = 200) -> HttpAnswer:
    """Answer `data` as JSON."""
    return HttpAnswer(body=json.dumps(data).encode(), status=status)


class Site(Protocol):
    """What the handler needs of the fake server."""

    def answer(self, request: HttpRequest) -> HttpAnswer:
        """Act on a request."""

    def next_fault(self, request: HttpRequest) -> Fault | None:
        """Take the fault that is due for a request, if any."""

    def accepts_sockets(self) -> bool:
        """Say whether WebSockets are let in."""

    def socket_opened(self, connection: SocketConnection) -> None:
        """Take note of a new WebSocket."""

    def socket_closed(self, connection: SocketConnection) -> None:
        """Take note that it has gone."""


class SocketConnection:
    """One client's WebSocket."""

    def __init__(self, client_id: str, connection: socket.socket) -> None:
        self.client_id = client_id
        # becomes True with the client's first message, if that asks for it
        self.preview_metadata = False
        self._socket = connection
        self._codec = Codec(Side.SERVER, max_size=None)
        self._lock = threading.Lock()

    def send(self, event: Event) -> None:
        """Send an event; a broken connection is the reader's business."""
        frame = encode_event(event, preview_metadata=self.preview_metadata)
        with self._lock:
            if self._codec.state is not State.OPEN:
                return
            if isinstance(frame, bytes):
                self._codec.send_binary(frame)
            else:
                self._codec.send_text(frame.encode())
            self._flush()

    def ping(self) -> None:
        """Send a ping."""
        with self._lock:
            self._codec.send_ping(b"?")
            self._flush()

    def cut(self) -> None:
        """Break the connection without a word."""
        _cut(self._socket)

    def serve(self) -> None:
        """Read what the client sends until it goes."""
        while True:
            # A closed socket has no number any more; select then says so by ValueError.
            try:
                select.select([self._socket], [], [])
                data = self._socket.recv(1 << 16)
            except (OSError, ValueError):
                return
            if not data:
                return
            with self._lock:
                self._codec.receive_data(data)
                self._flush()
            for frame in self._codec.events_received():
                self._read(frame)

    def _read(self, frame: Any) -> None:
        if frame.opcode is not Opcode.TEXT:
            return
        try:
            event = decode_event(frame.data.decode())
        except ProtocolError:
            return
        if isinstance(event, FeatureFlags):
            self.preview_metadata = bool(event.data.get("supports_preview_metadata"))
            self.send(FeatureFlags(data={"supports_preview_metadata": True}))

    def _flush(self) -> None:
        for data in self._codec.data_to_send():
            try:
                self._socket.sendall(data)
            except OSError:
                return


class Handler(BaseHTTPRequestHandler):
    """One connection; `site` and `connections` are set on a subclass per server."""

    protocol_version = "HTTP/1.1"
    # Head and body go out apart; without this each answer waits 40 ms for the other end's ACK.
    disable_nagle_algorithm = True
    site: Site
    connections: set[socket.socket]

    def setup(self) -> None:
        """Note the connection, so that it can be cut."""
        super().setup()
        self.connections.add(self.connection)

    def finish(self) -> None:
        """Forget the connection."""
        self.connections.discard(self.connection)
        try:
            super().finish()
        except OSError:
            # It was cut; nothing is left to flush.
            return

    def handle(self) -> None:
        """Serve requests until the connection ends, also by being cut."""
        try:
            super().handle()
        except (OSError, ValueError):
            self.close_connection = True

    def do_GET(self) -> None:
        """Answer a GET, or open a WebSocket."""
        request = self._request()
        if request.path == "/ws" and "Upgrade" in self.headers:
            self._open_socket(request)
        else:
            self._serve(request)

    def do_POST(self) -> None:
        """Answer a POST."""
        self._serve(self._request())

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet."""

    def _request(self) -> HttpRequest:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        return HttpRequest(
            method=self.command,
            path=parts.path.removeprefix("/api"),
            query=dict(parse_qsl(parts.query)),
            body=self.rfile.read(length),
            headers=self.headers,
        )

    def _serve(self, request: HttpRequest) -> None:
        fault = self.site.next_fault(request)
        if fault is Fault.RESET_BEFORE:
            self._break()
            return
        answer = _UNACTED.get(fault) if fault else None
        answer = answer or self.site.answer(request)
        if fault is Fault.RESET_AFTER:
            self._break()
            return
        self._write(json_answer({}) if fault is Fault.EMPTY else answer, fault)

    def _write(self, answer: HttpAnswer, fault: Fault | None) -> None:
        body = answer.body
        if fault is Fault.TRUNCATED:
            body = body[: len(body) // 2]
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _break(self) -> None:
        self.close_connection = True
        _cut(self.connection)

    def _open_socket(self, request: HttpRequest) -> None:
        self.close_connection = True
        if not self.site.accepts_sockets():
            self._write(json_answer({"error": "no"}, status=403), None)
            return
        key = self.headers["Sec-WebSocket-Key"] + _WEBSOCKET_GUID
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        opened = SocketConnection(request.query.get("clientId", ""), self.connection)
        self.site.socket_opened(opened)
        opened.serve()
        self.site.socket_closed(opened)


_UNACTED = {
    Fault.ERROR_500: HttpAnswer(body=b"500 Internal Server Error", status=500, type="text/plain"),
    Fault.REFUSED: json_answer(
        {
            "error": {
                "type": "prompt_outputs_failed_validation",
                "message": "Prompt outputs failed validation",
                "details": "",
                "extra_info": {},
            },
            "node_errors": {
                "1": {
                    "class_type": "EmptyImage",
                    "dependent_outputs": ["2"],
                    "errors": [
                        {
                            "type": "custom_validation_failed",
                            "message": "Custom validation failed for node",
                            "details": "color - too bright",
                            "extra_info": {},
                        }
                    ],
                }
            },
        },
        status=400,
    ),
    Fault.NOT_FOUND: HttpAnswer(body=b"404: Not Found", status=404, type="text/plain"),
    Fault.HTML: HttpAnswer(body=b"<html>a router</html>", type="text/html"),
}


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        # The other end was faster.
        return


class Door:
    """A listening port whose every connection can be cut at once."""

    def __init__(self, site: Site, port: int = 0, host: str = "127.0.0.1") -> None:
        connections: set[socket.socket] = set()
        handler = type("Handler", (Handler,), {"site": site, "connections": connections})
        self._connections = connections
        self._server = ThreadingHTTPServer((host, port), handler)
        self._server.daemon_threads = True
        self.url = f"http://{host}:{self._server.server_address[1]}"
        # the pace at which it notices that it is to stop, in s
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening and cut what is open, as the death of a process does."""
        self._server.shutdown()
        self._server.socket.close()
        for connection in list(self._connections):
            _cut(connection)
        self._thread.join()
