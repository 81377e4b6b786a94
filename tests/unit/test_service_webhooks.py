"""Messages to the outside: signed, tried for a day, and never sent to addresses inside."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest

from orchestrator.batch.execution.store.database import Database
from orchestrator.errors import BadValue
from orchestrator.service.addresses import Networks, resolved, target_of
from orchestrator.service.webhooks import (
    MOST_BYTES,
    PAUSES,
    Delivery,
    DeliveryState,
    Webhooks,
    signature,
)
from service_parts import Clock, opened

T = TypeVar("T")
LOCAL = ("127.0.0.0/8",)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(coroutine, 60))


@dataclass
class Receiver:
    """A real HTTP server that notes what it gets, and answers by a script."""

    port: int
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    # instead of an answer
    instead: Callable[[socket.socket], None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?x=1"


@contextmanager
def receiving(
    address: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append((self.path, dict(self.headers.items()), body))
            if receiver.instead is not None:
                receiver.instead(self.connection)
                return
            status, headers = receiver.answers.pop(0) if receiver.answers else (204, {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        do_GET = do_POST

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer((address, port), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    receiver = Receiver(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def clock() -> Clock:
    return Clock(float(int(time.time())))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as database:
        yield database


@pytest.fixture
def webhooks(database: Database, clock: Clock) -> Webhooks:
    return Webhooks(database, allow=LOCAL, clock=clock)


def resolver_of(*answers: Sequence[str]) -> tuple[Any, list[str]]:
    """One that gives these answers in turn, and the hosts that it was asked for."""
    left, asked = list(answers), []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve, asked


def only(webhooks: Webhooks, job: str = "job") -> Delivery:
    (found,) = webhooks.of_job(job)
    return found


# ------------------------------------------------------------------------- signature


def test_the_signature_is_that_of_the_standard() -> None:
    """The example of the standard's own tests (libraries/javascript/src/webhook.test.ts)."""
    found = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_receiver_can_verify_what_it_gets(
    webhooks: Webhooks, receiver: Receiver, clock: Clock
) -> None:
    id = webhooks.enqueue("ann", "job", receiver.url, "job.succeeded", {"id": "job", "ä": "\n"})
    assert run(webhooks.send_due()) == 1
    ((path, headers, body),) = receiver.got
    assert path == "/hook?x=1"
    assert headers["Host"] == f"127.0.0.1:{receiver.port}"
    assert headers["Content-Type"] == "application/json"
    assert headers["webhook-id"] == id
    assert headers["webhook-timestamp"] == str(int(clock.now))
    message = json.loads(body)
    assert message["type"] == "job.succeeded"
    assert message["data"] == {"id": "job", "ä": "\n"}
    assert message["timestamp"].endswith("Z")
    # as a receiver does it
    key = base64.b64decode(webhooks.secret("ann").removeprefix("whsec_"))
    signed = f"{id}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    found = only(webhooks)
    assert (found.state, found.status, found.attempts) == (DeliveryState.DELIVERED, 204, 1)
    assert run(webhooks.send_due()) == 0


def test_the_library_of_the_standard_verifies_it(webhooks: Webhooks, receiver: Receiver) -> None:
    standard = pytest.importorskip("standardwebhooks", reason="needs pip install standardwebhooks")
    webhooks.enqueue("ann", "job", receiver.url, "job.succeeded", {"x": 1})
    run(webhooks.send_due())
    ((_, headers, body),) = receiver.got
    assert standard.Webhook(webhooks.secret("ann")).verify(body, headers)["data"] == {"x": 1}
    with pytest.raises(standard.WebhookVerificationError):
        standard.Webhook(webhooks.secret("bob")).verify(body, headers)


def test_each_owner_has_a_secret_of_its_own(webhooks: Webhooks) -> None:
    ann, bob = webhooks.secret("ann"), webhooks.secret("bob")
    assert ann == webhooks.secret("ann") != bob
    assert len(base64.b64decode(ann.removeprefix("whsec_"))) == 32


# --------------------------------------------------------------------------- retries


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 404, 429, 500, 503])
def test_what_is_no_success_is_tried_again_with_the_same_id(
    webhooks: Webhooks, receiver: Receiver, clock: Clock, status: int
) -> None:
    receiver.answers = [(status, {"Location": "http://169.254.169.254/"})]
    id = webhooks.enqueue("ann", "job", receiver.url, "job.failed", {})
    assert run(webhooks.send_due()) == 1
    found = only(webhooks)
    assert (found.state, found.status, found.attempts) == (DeliveryState.PENDING, status, 1)
    assert f"answered {status}" in found.error
    assert 4.5 <= found.due_at - clock.now <= 5.5
    assert run(webhooks.send_due()) == 0
    clock.now = found.due_at
    assert run(webhooks.send_due()) == 1
    assert only(webhooks).state is DeliveryState.DELIVERED
    (_, first, body), (_, second, again) = receiver.got
    assert first["webhook-id"] == second["webhook-id"] == id
    assert body == again
    # signed anew, so that the receiver does not take it for an old one
    assert first["webhook-timestamp"] != second["webhook-timestamp"]
    assert first["webhook-signature"] != second["webhook-signature"]


def test_a_message_is_tried_for_a_day_and_then_given_up(
    webhooks: Webhooks, receiver: Receiver, clock: Clock
) -> None:
    receiver.answers = [(500, {})] * 100
    begin = clock.now
    webhooks.enqueue("ann", "job", receiver.url, "job.failed", {})
    pauses = []
    while run(webhooks.send_due()):
        found = only(webhooks)
        if found.state is not DeliveryState.PENDING:
            break
        pauses.append(found.due_at - clock.now)
        clock.now = found.due_at
    assert found.state is DeliveryState.FAILED
    assert found.attempts == len(receiver.got) == len(PAUSES) + 1
    assert len(pauses) == len(PAUSES)
    # each may be a tenth longer or shorter, and the last two are alike
    assert all(one < other for one, other in pairwise(pauses[:-1]))
    assert 0.85 * 86_400 < clock.now - begin < 1.15 * 86_400
    clock.now += 100 * 86_400
    assert run(webhooks.send_due()) == 0


def test_a_receiver_that_is_gone_gets_no_more(webhooks: Webhooks, receiver: Receiver) -> None:
    receiver.answers = [(410, {})]
    webhooks.enqueue("ann", "job", receiver.url, "job.failed", {})
    run(webhooks.send_due())
    assert only(webhooks).state is DeliveryState.FAILED


@pytest.mark.parametrize(
    ("asked", "waits"), [("60", 60), ("9999999", 5), ("999999", 3600), ("-5", 5), ("soon", 5)]
)
def test_a_receiver_may_ask_for_a_pause(
    webhooks: Webhooks, receiver: Receiver, clock: Clock, asked: str, waits: float
) -> None:
    receiver.answers = [(503, {"Retry-After": asked})]
    webhooks.enqueue("ann", "job", receiver.url, "job.failed", {})
    run(webhooks.send_due())
    assert only(webhooks).due_at - clock.now == pytest.approx(waits, rel=0.1)


def close_at_once(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def speak_nonsense(connection: socket.socket) -> None:
    connection.sendall(b"\x00\x01 220 mail.example ESMTP\x1b[31m\r\n\r\n")


def answer_without_end(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 10_000)


@pytest.mark.parametrize("instead", [close_at_once, speak_nonsense, answer_without_end])
def test_an_answer_that_is_none_is_a_failure(
    webhooks: Webhooks, receiver: Receiver, instead: Callable[[socket.socket], None]
) -> None:
    receiver.instead = instead
    webhooks.enqueue("ann", "job", receiver.url, "job.failed", {})
    run(webhooks.send_due())
    found = only(webhooks)
    assert (found.state, found.status) == (DeliveryState.PENDING, None)
    assert found.error
    assert found.error.isprintable()
    # what was answered is nobody's business
    assert "mail" not in found.error


def test_an_endless_body_is_not_read(webhooks: Webhooks, receiver: Receiver) -> None:
    done = threading.Event()

    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n")
        try:
            while not done.is_set():
                connection.sendall(b"x" * 65536)
        except OSError:
            done.set()

    receiver.instead = endless
    webhooks.enqueue("ann", "job", receiver.url, "job.succeeded", {})
    run(webhooks.send_due())
    assert only(webhooks).state is DeliveryState.DELIVERED
    assert done.wait(60)


@pytest.mark.parametrize("drips", [False, True])
def test_a_slow_receiver_is_left_after_the_time_limit(
    database: Database, receiver: Receiver, clock: Clock, drips: bool
) -> None:
    """Also one that sends a letter now and then, so that no single wait is long."""
    over = threading.Event()

    def slow(connection: socket.socket) -> None:
        try:
            connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
            while drips and not over.wait(0.02):
                connection.sendall(b"y")
        except OSError:
            pass
        over.wait(10)

    receiver.instead = slow
    webhooks = Webhooks(database, allow=LOCAL, clock=clock, patience=0.3)
    webhooks.enqueue("ann", "job", receiver.url, "job.failed", {})
    run(webhooks.send_due())
    over.set()
    assert only(webhooks).error == "no answer within 0.3 s"


def test_nobody_listens(webhooks: Webhooks) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        webhooks.enqueue("ann", "job", url, "job.failed", {})
        run(webhooks.send_due())
    found = only(webhooks)
    assert found.state is DeliveryState.PENDING
    assert "connection failed" in found.error


def test_a_host_that_is_not_found_is_tried_again(database: Database, clock: Clock) -> None:
    async def nobody(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    webhooks = Webhooks(database, resolver=nobody, clock=clock)
    with pytest.raises(BadValue, match=r"hooks\.example, is not found"):
        run(webhooks.check("https://hooks.example/"))
    webhooks.enqueue("ann", "job", "https://hooks.example/", "job.failed", {})
    run(webhooks.send_due())
    found = only(webhooks)
    assert found.state is DeliveryState.PENDING
    assert "not found" in found.error


# ---------------------------------------------------------------------------- queue


def test_a_message_is_part_of_the_transaction_that_it_tells_of(
    webhooks: Webhooks, database: Database, receiver: Receiver
) -> None:
    def fails() -> None:
        with database.transaction():
            webhooks.enqueue("ann", "job", receiver.url, "job.succeeded", {})
            raise KeyError("the job was somebody else's")

    with pytest.raises(KeyError):
        fails()
    assert run(webhooks.send_due()) == 0
    assert webhooks.of_job("job") == []


def test_a_message_that_is_too_large_names_the_job_only(
    webhooks: Webhooks, receiver: Receiver
) -> None:
    webhooks.enqueue("ann", "job", receiver.url, "job.succeeded", {"x": "y" * MOST_BYTES})
    run(webhooks.send_due())
    assert json.loads(receiver.got[0][2])["data"] == {"id": "job", "truncated": True}


def test_two_processes_send_a_message_once(
    webhooks: Webhooks, tmp_path: Path, receiver: Receiver, clock: Clock
) -> None:
    for number in range(30):
        webhooks.enqueue(f"owner {number % 5}", f"job {number}", receiver.url, "job.failed", {})

    async def both(other: Webhooks) -> list[int]:
        return await asyncio.gather(webhooks.send_due(), other.send_due())

    with opened(tmp_path) as second:
        counts = run(both(Webhooks(second, allow=LOCAL, clock=clock)))
    assert sum(counts) == 30
    ids = [headers["webhook-id"] for _, headers, _ in receiver.got]
    assert len(ids) == len(set(ids)) == 30


def test_what_a_process_died_over_is_taken_up_again(
    webhooks: Webhooks, database: Database, receiver: Receiver, clock: Clock
) -> None:
    webhooks.enqueue("ann", "job", receiver.url, "job.failed", {})
    claimed, _ = webhooks._claim({}, 16)
    assert len(claimed) == 1
    after = Webhooks(database, allow=LOCAL, clock=clock)
    assert run(after.send_due()) == 0
    clock.now += 60
    assert run(after.send_due()) == 1
    assert only(webhooks).state is DeliveryState.DELIVERED


def test_an_owner_with_many_messages_holds_up_nobody(
    webhooks: Webhooks, receiver: Receiver
) -> None:
    for number in range(200):
        webhooks.enqueue("ann", f"job {number}", receiver.url, "job.failed", {})
    webhooks.enqueue("bob", "bob's", receiver.url, "job.failed", {})
    claimed, _ = webhooks._claim({}, 16)
    assert [one.owner for one in claimed].count("ann") == 4
    assert [one.owner for one in claimed].count("bob") == 1
    # and with four on their way it gets no room at all
    assert webhooks._claim({"ann": 4}, 16)[0] == []


def test_the_loop_sends_what_comes_and_ends_when_told(
    webhooks: Webhooks, receiver: Receiver
) -> None:
    async def case() -> None:
        task = asyncio.create_task(webhooks.run())
        for number in range(40):
            await asyncio.to_thread(
                webhooks.enqueue, "ann", f"job {number}", receiver.url, "job.failed", {}
            )
        # What was received is noted down a moment later.
        while await asyncio.to_thread(states) != {DeliveryState.DELIVERED}:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    def states() -> set[DeliveryState]:
        return {one.state for n in range(40) for one in webhooks.of_job(f"job {n}")}

    run(case())
    assert len(receiver.got) == 40


def test_nothing_more_is_sent_for_a_key_that_was_revoked(
    webhooks: Webhooks, receiver: Receiver
) -> None:
    before = webhooks.secret("ann")
    webhooks.enqueue("ann", "job", receiver.url, "job.failed", {})
    webhooks.enqueue("bob", "bob's", receiver.url, "job.failed", {})
    webhooks.drop_owner("ann")
    assert run(webhooks.send_due()) == 1
    assert only(webhooks).state is DeliveryState.FAILED
    assert webhooks.secret("ann") != before


def test_old_messages_go(webhooks: Webhooks, receiver: Receiver, clock: Clock) -> None:
    webhooks.enqueue("ann", "done", receiver.url, "job.failed", {})
    run(webhooks.send_due())
    clock.now += 6 * 86_400
    assert webhooks.forget_old() == 0
    webhooks.enqueue("ann", "waits", receiver.url, "job.failed", {})
    clock.now += 10 * 86_400
    assert webhooks.forget_old() == 1
    assert webhooks.of_job("done") == []
    assert only(webhooks, "waits").state is DeliveryState.PENDING


# ----------------------------------------------------------------------------- inside

INSIDE = [
    "127.0.0.1",
    "127.8.9.10",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    "2001:0:0:0:0:0:80ff:fffe",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "3fff::1",
    "4000::1",
]
OUTSIDE = [
    "93.184.216.34",
    "8.8.8.8",
    "172.32.0.1",
    "2606:2800:220:1::1",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_inside_is_refused(address: str) -> None:
    with pytest.raises(BadValue, match="is inside"):
        Networks().check(address, "hooks.example")


@pytest.mark.parametrize("address", OUTSIDE)
def test_an_address_outside_is_not(address: str) -> None:
    Networks().check(address, "hooks.example")


@pytest.mark.parametrize("address", ["", "x", "1.2.3", "1.2.3.4.5", "010.0.0.1", "1.2.3.4\n"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(BadValue, match="no address"):
        Networks().check(address, "hooks.example")


def test_a_network_is_allowed_and_no_other() -> None:
    networks = Networks(["10.1.0.0/16", " fd00::/8 "])
    networks.check("10.1.2.3", "x")
    networks.check("fd00::1", "x")
    for address in ("10.2.0.1", "127.0.0.1", "::1", "::ffff:10.1.2.3"):
        with pytest.raises(BadValue):
            networks.check(address, "x")
    for wrong in ("10.1.2.3/16", "x", ""):
        with pytest.raises(BadValue, match="give a network"):
            Networks([wrong])


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.0.0.1:8188/prompt",
        "http://localhost/",
        "http://LocalHost/",
        "http://[::1]/",
        "http://[::]/",
        "http://0.0.0.0/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://017700000001/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://127.0.1/",
        "http://0/",
        "https://127.0.0.1/",
    ],
)
def test_no_spelling_of_an_address_inside_gets_through(
    database: Database, receiver: Receiver, url: str
) -> None:
    """By this system's own resolver, and at the try as well as at the check."""
    webhooks = Webhooks(database)
    with pytest.raises(BadValue):
        run(webhooks.check(url))
    try:
        webhooks.enqueue("ann", "job", url, "job.failed", {})
    except BadValue:
        return
    run(webhooks.send_due())
    found = only(webhooks)
    assert (found.state, found.status, found.attempts) == (DeliveryState.FAILED, None, 1)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "//hooks.example/",
        "ftp://hooks.example/",
        "file:///etc/passwd",
        "gopher://hooks.example/",
        "javascript:alert(1)",
        "http:///x",
        "http://:80/",
        "http://user@hooks.example/",
        "http://user:secret@hooks.example/",
        "http://@hooks.example/",
        "http://hooks.example@127.0.0.1/",
        "http://127.0.0.1\\@hooks.example/",
        "http://hooks.example:22/",
        "http://hooks.example:25/",
        "http://hooks.example:0/",
        "http://hooks.example:99999/",
        "http://hooks.example:8o/",
        "http://hooks.example/\r\nX: y",
        "http://hooks.example\n/",
        "http://hooks.exa\tmple/",
        "http://hooks.example/ x",
        "http://hooks.example/\x00",
        "http://hööks.example/",
        "http://hooks%2eexample/",
        "http://1.2.3/",
        "http://hooks.1/",
        "http://[::1/",
        "http://[x]/",
        "http://[fe80::1%25eth0]/",
        "http://" + "x" * 3000,
    ],
)
def test_what_is_no_url_of_a_webhook_is_refused(webhooks: Webhooks, url: str) -> None:
    with pytest.raises(BadValue) as caught:
        run(webhooks.check(url))
    assert str(caught.value).isprintable()
    with pytest.raises(BadValue):
        webhooks.enqueue("ann", "job", url, "job.failed", {})


def test_a_url_is_taken_apart() -> None:
    found = target_of("https://Hooks.example:8443/a%20b?x=1&y=2#part")
    assert (found.is_tls, found.host, found.port) == (True, "hooks.example", 8443)
    assert (found.path, found.netloc) == ("/a%20b?x=1&y=2", "hooks.example:8443")
    assert target_of("http://[2606:2800:220:1::1]").netloc == "[2606:2800:220:1::1]"


def test_a_name_with_one_address_inside_is_refused(database: Database, clock: Clock) -> None:
    for addresses in (["93.184.216.34", "10.0.0.1"], ["10.0.0.1", "93.184.216.34"]):
        resolve, _ = resolver_of(addresses)
        with pytest.raises(BadValue, match=r"hooks\.example is inside \(10\.0\.0\.1\)"):
            run(Webhooks(database, resolver=resolve, clock=clock).check("https://hooks.example/"))


def test_a_name_that_moves_inside_after_the_check_gets_nothing(
    database: Database, receiver: Receiver, clock: Clock
) -> None:
    resolve, asked = resolver_of(["93.184.216.34"], ["127.0.0.1"])
    webhooks = Webhooks(database, resolver=resolve, clock=clock)
    url = f"http://hooks.example:{receiver.port}/"
    assert run(webhooks.check(url)) == url
    webhooks.enqueue("ann", "job", url, "job.failed", {})
    run(webhooks.send_due())
    assert receiver.got == []
    assert (only(webhooks).state, asked) == (DeliveryState.FAILED, ["hooks.example"] * 2)


def test_the_connection_goes_to_the_address_that_was_looked_at(
    database: Database, clock: Clock
) -> None:
    """A name that resolves to something else a moment later gains nothing (DNS rebinding)."""
    resolve, asked = resolver_of(["127.0.0.1"], ["127.0.0.2"])
    webhooks = Webhooks(database, resolver=resolve, allow=["127.0.0.1/32"], clock=clock)
    with receiving() as first:
        try:
            other = receiving("127.0.0.2", first.port)
            second = other.__enter__()
        except OSError:
            pytest.skip("this system has one loopback address only")
        try:
            url = f"http://hooks.example:{first.port}/x"
            webhooks.enqueue("ann", "job", url, "job.failed", {})
            run(webhooks.send_due())
        finally:
            other.__exit__(None, None, None)
    assert asked == ["hooks.example"]
    assert len(first.got) == 1
    assert second.got == []
    assert first.got[0][1]["Host"] == f"hooks.example:{first.port}"


def test_a_redirect_to_the_inside_is_not_followed(database: Database, clock: Clock) -> None:
    with receiving() as outside, receiving() as inside:
        for status in (301, 302, 303, 307, 308):
            outside.answers = [(status, {"Location": inside.url})]
            webhooks = Webhooks(database, allow=LOCAL, clock=clock)
            webhooks.enqueue("ann", f"job {status}", outside.url, "job.failed", {})
            run(webhooks.send_due())
            assert "not followed" in only(webhooks, f"job {status}").error
        assert inside.got == []
        assert len(outside.got) == 5


def test_the_next_address_is_tried_where_one_does_not_answer(
    database: Database, receiver: Receiver, clock: Clock
) -> None:
    resolve, _ = resolver_of(["127.0.0.3", "127.0.0.1"])
    webhooks = Webhooks(database, resolver=resolve, allow=LOCAL, clock=clock)
    webhooks.enqueue("ann", "job", f"http://hooks.example:{receiver.port}/", "x", {})
    run(webhooks.send_due())
    assert only(webhooks).state is DeliveryState.DELIVERED


def test_this_systems_resolver_gives_addresses() -> None:
    assert "127.0.0.1" in run(resolved("localhost", 80)) or "::1" in run(resolved("localhost", 80))
    with pytest.raises(OSError, match=r".+"):
        run(resolved("nosuchhost.invalid", 80))


# -------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for hooks.example and its key, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl, which makes a certificate")
    folder = tmp_path_factory.mktemp("tls")
    key, made = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-keyout", str(key), "-out", str(made), "-subj", "/CN=hooks.example"]
    command += ["-addext", "subjectAltName=DNS:hooks.example"]
    subprocess.run(command, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_bytes(made.read_bytes() + key.read_bytes())
    return both


@pytest.mark.parametrize(
    ("host", "trusted", "state"),
    [
        ("hooks.example", True, DeliveryState.DELIVERED),
        # the certificate is another host's: the name is checked although the address is called
        ("other.example", True, DeliveryState.PENDING),
        ("hooks.example", False, DeliveryState.PENDING),
    ],
)
def test_the_certificate_must_be_the_names(
    database: Database,
    certificate: Path,
    clock: Clock,
    host: str,
    trusted: bool,
    state: DeliveryState,
) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    trust = ssl.create_default_context(cafile=str(certificate)) if trusted else None
    resolve, _ = resolver_of(["127.0.0.1"])
    webhooks = Webhooks(database, resolver=resolve, allow=LOCAL, trust=trust, clock=clock)
    with receiving(tls=server) as receiver:
        url = f"https://{host}:{receiver.port}/"
        webhooks.enqueue("ann", "job", url, "job.failed", {})
        run(webhooks.send_due())
        assert len(receiver.got) == (state is DeliveryState.DELIVERED)
    assert only(webhooks).state is state
