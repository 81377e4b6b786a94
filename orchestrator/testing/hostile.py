"""A proxy in front of a server that does to its answers what a broken or hostile one would do.

It stands before a FakeServer, the engine or a real ComfyUI, and passes everything on, but for the
requests that an attack names::

    with FakeServer() as fake, hostile(fake.url, Attack(kind="drip", route="/history")) as proxy:
        with Client(proxy.url) as client:
            ...
        assert proxy.struck

The moment is chosen by the route and the number of the request: `/object_info` comes before a run,
`/prompt` begins it, `/history` and `/queue` belong to it, `/view` comes after it, `/ws` is the
WebSocket.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

Kind: TypeAlias = Literal[
    "drip", "stall", "flood", "truncate", "nest", "swap", "length", "html", "types", "reset"
]

# Brackets of the kind "nest".
DEPTH = 200_000
_PIECE = 1 << 16
_HTML = b"<html><body>Please log in</body></html>"


@dataclass(frozen=True, kw_only=True)
class Attack:
    """What is done to which requests.

    | kind | what comes instead of the answer |
    |---|---|
    | drip | the answer, a byte every `pace` s |
    | stall | nothing; the connection stays open |
    | flood | a body without an end, as fast as it is taken; messages without end |
    | truncate | half of the answer, and the end of the connection |
    | nest | JSON of 200,000 brackets |
    | swap | `body`, or what the same route first answered to another request, where it did; a \
record comes under the id that was asked for |
    | length | the answer, announced as longer than it is; the connection stays open |
    | html | a page of HTML, with status 200 |
    | types | the answer, with values of other types in it |
    | reset | the end of the connection |

    On the WebSocket (`route="/ws"`) drip, stall, truncate, html and reset are done to the greeting;
    flood, nest, swap, length and types are said after it.
    """

    kind: Kind
    # a regular expression that is looked for in "METHOD /path?query"
    route: str = ""
    # the first request of the route that is attacked, from 1
    nth: int = 1
    # how many are; None for all from then on
    times: int | None = None
    # s between the bytes of a drip
    pace: float = 1.0
    # what "swap" answers; None for what it has seen
    body: bytes | None = None

    def meets(self, number: int) -> bool:
        """Whether the request of this number on the route is attacked."""
        return self.nth <= number and (self.times is None or number < self.nth + self.times)


@dataclass(frozen=True)
class _Request:
    method: str
    target: str
    # as it came, to its end
    raw: bytes
    is_socket: bool


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def head(self, length: int | None) -> bytes:
        """Status and headers; a `length` of None announces chunks."""
        lines = [f"HTTP/1.1 {self.status} {http.client.responses.get(self.status, '')}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines.append(
            "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        )
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def bytes(self) -> bytes:
        return self.head(len(self.body)) + self.body


class HostileProxy:
    """A proxy with attacks; `hostile` makes and ends one. Its attributes may be read any time."""

    def __init__(self, url: str, attacks: tuple[Attack, ...]) -> None:
        parts = urlsplit(url)
        self._server = (str(parts.hostname), parts.port or 80)
        self._attacks = attacks
        self._counts = [0] * len(attacks)
        # what a route answered first: {attack's number: (target, answer)}
        self._seen: dict[int, tuple[str, _Answer]] = {}
        # every request, in order: "GET /history/..."
        self.requests: list[str] = []
        # those of them that were attacked
        self.struck: list[str] = []
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._door = socket.create_server(("127.0.0.1", 0))
        self._door.settimeout(0.05)
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, name="hostile", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and cut every connection."""
        self._done.set()
        self._thread.join()
        self._door.close()
        with self._lock:
            left = list(self._sockets)
        for each in left:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    # ----------------------------------------------------------------- connections

    def _accept(self) -> None:
        while not self._done.is_set():
            try:
                connection, _ = self._door.accept()
            except TimeoutError:
                continue
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """Serve one client until one of the ends is gone."""
        with suppress(OSError, http.client.HTTPException, ValueError), self._kept(client):
            client.settimeout(None)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with socket.create_connection(self._server) as server, self._kept(server):
                server.settimeout(None)
                server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while (request := _read_request(client)) is not None:
                    if not self._pass_on(request, client, server):
                        return

    @contextmanager
    def _kept(self, sock: socket.socket) -> Iterator[None]:
        with self._lock:
            self._sockets.add(sock)
        try:
            yield
        finally:
            with self._lock:
                self._sockets.discard(sock)
            sock.close()

    def _pass_on(self, request: _Request, client: socket.socket, server: socket.socket) -> bool:
        """Serve one request; False where it was the last one of its connection."""
        number = self._due(request)
        attack = None if number is None else self._attacks[number]
        if attack is not None and attack.kind in ("stall", "reset"):
            if attack.kind == "stall":
                self._done.wait()
            return False
        server.sendall(request.raw)
        if request.is_socket:
            self._pass_socket(attack, client, server)
            return False
        answer, goes_on = _read_answer(server, request.method)
        before = self._note(request, answer)
        if number is None or attack is None:
            client.sendall(answer.bytes())
            return goes_on
        other = before.get(number) or answer
        whole = _Striker(attack, client, self._done).strike(answer, request.target, other)
        return whole and goes_on

    def _due(self, request: _Request) -> int | None:
        """Count a request; the number of the attack that is due for it, if any."""
        line = f"{request.method} {request.target}"
        found = None
        with self._lock:
            self.requests.append(line)
            for number, attack in enumerate(self._attacks):
                if re.search(attack.route, line):
                    self._counts[number] += 1
                    if found is None and attack.meets(self._counts[number]):
                        found = number
            if found is not None:
                self.struck.append(line)
        return found

    def _note(self, request: _Request, answer: _Answer) -> dict[int, _Answer]:
        """Keep an answer for "swap"; what was kept of other requests before, by attack."""
        line = f"{request.method} {request.target}"
        with self._lock:
            kept = {n: old for n, (target, old) in self._seen.items() if target != request.target}
            for number, attack in enumerate(self._attacks):
                # An empty history is none that could be taken for another.
                if re.search(attack.route, line) and answer.body not in (b"", b"{}"):
                    self._seen.setdefault(number, (request.target, answer))
        return kept

    def _pass_socket(
        self, attack: Attack | None, client: socket.socket, server: socket.socket
    ) -> None:
        """Pass a WebSocket on, both ways, until one of them ends."""
        greeting = _read_head(server)
        if attack is not None and not _Striker(attack, client, self._done).greet(greeting):
            return
        if attack is None:
            client.sendall(greeting)

        def listen() -> None:
            with suppress(OSError):
                while data := client.recv(_PIECE):
                    server.sendall(data)
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)

        threading.Thread(target=listen, daemon=True).start()
        while data := server.recv(_PIECE):
            client.sendall(data)


class _Striker:
    """Does one attack to one client."""

    def __init__(self, attack: Attack, client: socket.socket, done: threading.Event) -> None:
        self._attack = attack
        self._client = client
        self._done = done

    def strike(self, answer: _Answer, target: str, other: _Answer) -> bool:
        """Send what the attack makes of an answer; whether it is a whole one, whatever is in it."""
        client, body = self._client, answer.body
        match self._attack.kind:
            case "drip":
                self._drip(answer.bytes())
            case "flood":
                client.sendall(answer.head(None))
                self._without_end(b"%x\r\n%b\r\n" % (_PIECE, b" " * _PIECE))
            case "truncate":
                client.sendall(answer.head(len(body) + 1) + body[: len(body) // 2])
            case "nest":
                client.sendall(_json(b"[" * DEPTH + b"]" * DEPTH).bytes())
            case "swap":
                given = other.body if self._attack.body is None else self._attack.body
                client.sendall(_Answer(200, answer.headers, _under(given, target)).bytes())
            case "length":
                client.sendall(answer.head(len(body) + 1000) + body)
                self._done.wait()
            case "html":
                client.sendall(_Answer(200, (("Content-Type", "text/html"),), _HTML).bytes())
            case "types":
                client.sendall(_json(_mistyped(body)).bytes())
        return self._attack.kind in ("nest", "swap", "html", "types")

    def greet(self, greeting: bytes) -> bool:
        """Open a WebSocket; False where it is to be no more than that."""
        client = self._client
        match self._attack.kind:
            case "drip":
                self._drip(greeting)
                return True
            case "truncate":
                client.sendall(greeting[: len(greeting) // 2])
                return False
            case "html":
                client.sendall(_Answer(200, (("Content-Type", "text/html"),), _HTML).bytes())
                return False
        client.sendall(greeting)
        match self._attack.kind:
            case "flood":
                status = {"status": {"exec_info": {"queue_remaining": 1}}}
                self._without_end(1000 * _frame(_said("status", status)))
            case "nest":
                client.sendall(_frame(b"[" * DEPTH + b"]" * DEPTH))
            case "swap":
                other = {"prompt_id": "00000000-0000-4000-8000-000000000000", "node": None}
                client.sendall(_frame(_said("execution_success", other)))
                client.sendall(_frame(_said("executing", other)))
            case "length":
                client.sendall(b"\x82\x7f" + struct.pack(">Q", 1 << 62))
                self._without_end(b"\0" * _PIECE)
            case "types":
                for name in ("status", "executing", "progress", "progress_state", "executed"):
                    client.sendall(_frame(_said(name, [{"prompt_id": 5, "nodes": "x"}])))
                    client.sendall(_frame(_said(name, {"prompt_id": [], "nodes": 3, "node": {}})))
        return True

    def _drip(self, data: bytes) -> None:
        for at in range(len(data)):
            self._client.sendall(data[at : at + 1])
            if self._done.wait(self._attack.pace):
                return

    def _without_end(self, data: bytes) -> None:
        while not self._done.is_set():
            self._client.sendall(data)


@contextmanager
def hostile(url: str, *attacks: Attack) -> Iterator[HostileProxy]:
    """Stand a proxy with these attacks before the server at `url`, on this machine.

    Of several attacks that a request meets the first is done.
    """
    proxy = HostileProxy(url, attacks)
    try:
        yield proxy
    finally:
        proxy.close()


# ----------------------------------------------------------------------------- reading


def _read_head(sock: socket.socket) -> bytes:
    """What comes up to an empty line; nothing where the other end has gone."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        # Byte by byte: what follows is not ours to read.
        byte = sock.recv(1)
        if not byte:
            return b""
        head += byte
    return bytes(head)


def _read_request(client: socket.socket) -> _Request | None:
    head = _read_head(client)
    if not head:
        return None
    lines = head.decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ", 2)
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines[1:] if line)
    }
    left, body = int(headers.get("content-length", "0")), bytearray()
    while len(body) < left:
        data = client.recv(min(left - len(body), _PIECE))
        if not data:
            return None
        body += data
    return _Request(method, target, head + bytes(body), "upgrade" in headers)


def _read_answer(server: socket.socket, method: str) -> tuple[_Answer, bool]:
    """An answer, and whether its connection can be used again."""
    response = http.client.HTTPResponse(server, method=method)
    response.begin()
    body = response.read()
    length = ("content-length", "transfer-encoding", "connection")
    headers = tuple(each for each in response.getheaders() if each[0].lower() not in length)
    return _Answer(response.status, headers, body), not response.will_close


# ----------------------------------------------------------------------------- spoiling


def _json(body: bytes) -> _Answer:
    return _Answer(200, (("Content-Type", "application/json"),), body)


def _said(name: str, data: Any) -> bytes:
    return json.dumps({"type": name, "data": data}).encode()


def _frame(text: bytes) -> bytes:
    """A WebSocket message, as servers send it."""
    if len(text) < 126:
        return struct.pack(">BB", 0x81, len(text)) + text
    return struct.pack(">BBQ", 0x81, 127, len(text)) + text


def _under(body: bytes, target: str) -> bytes:
    """Another job's record under the id that was asked for; all else as it stands."""
    found = re.search(r"/history/([^/?]+)", target)
    if found is None:
        return body
    try:
        records = json.loads(body)
    except ValueError:
        return body
    if not isinstance(records, dict) or len(records) != 1:
        return body
    return json.dumps({found[1]: next(iter(records.values()))}).encode()


def _mistyped(body: bytes) -> bytes:
    try:
        value = json.loads(body)
    except ValueError:
        value = {}
    return json.dumps(_other_types(value, top=True)).encode()


def _other_types(value: Any, *, top: bool = False) -> Any:
    """The same outline with numbers for texts, texts for lists, and so on."""
    wrong: dict[type, Callable[[Any], Any]] = {
        str: len,
        int: lambda number: [number],
        float: str,
        bool: lambda flag: {"is": flag},
        list: lambda items: "x" * len(items),
        type(None): lambda _: 0.5,
    }
    if isinstance(value, dict) and (top or value):
        return {key: _other_types(child) for key, child in value.items()}
    return wrong.get(type(value), str)(value)
