"""Messages to the outside: signed, tried again, and never to addresses inside.

Messages are rows, written in the transaction that they tell of, so that none is lost and none tells
of what did not happen; a receiver may get one twice and knows it by its id. They are signed as
Standard Webhooks 1.0.0 has it (github.com/standard-webhooks/standard-webhooks, `spec/`): in the
headers webhook-id, webhook-timestamp and webhook-signature, which is `v1,` and the base64 of the
HMAC-SHA256 of `ID.TIMESTAMP.BODY`, by a secret that is written `whsec_` and base64.

A client names the address, so it is the service that is made to knock on doors: at the host's own
services, at a cloud's metadata, at neighbours. A host name is resolved once for each try; where one
of its addresses is inside, nothing is sent; else the connection goes to an address that was looked
at, so that a name that resolves to something else a moment later gains nothing. Redirects are not
followed, and of the answer only its head is read.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import random
import re
import secrets
import ssl
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import Any

import h11
import sqlalchemy as sa

from ..batch.execution.store.database import Database
from ..errors import BadValue, SpriteworksError
from ..version import __version__
from .addresses import Networks, WebAddress, resolved, target_of
from .tables import signing
from .tables import webhooks as table
from .tracing import parsed

# s between tries; with them a message is tried for a day
PAUSES = (5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 28800)
# s for one try, from resolving to the answer's head
PATIENCE = 15.0
# s after which a message that somebody was about to send is taken up by others
_LEASE = 60.0
# Messages on their way at one time, and of one owner: slow receivers hold up only themselves.
_AT_ONCE, _OF_ONE = 16, 4
# bytes of a message; Standard Webhooks recommends 20 KB
MOST_BYTES = 64 * 1024
# bytes of the head of an answer
_LONGEST_HEAD = 16 * 1024
# s that a receiver may ask to wait by Retry-After
_LONGEST_WAIT = 3600.0
# s that messages that came to an end are kept, for people
_KEPT = 7 * 86_400.0
# s between two looks for messages of other processes
_LOOK = 5.0

_log = logging.getLogger(__name__)

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]


class DeliveryState(str, Enum):
    """Where a message stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    # tried for the last time, refused, or gone
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A message and what became of it."""

    # "msg_" and 32 letters, the same at each try
    id: str
    owner: str
    job_id: str
    url: str
    body: str
    state: DeliveryState
    attempts: int
    # s since the epoch
    due_at: float
    created_at: float
    ended_at: float | None
    # HTTP status of the latest answer
    status: int | None
    # what went wrong the last time; "" for nothing
    error: str


@dataclass(frozen=True, kw_only=True)
class _Answer:
    status: int | None = None
    error: str = ""
    # s that the receiver asks to wait
    retry_after: float | None = None
    # whether another try is of no use
    final: bool = False


def signature(secret: str, id: str, timestamp: int, body: bytes) -> str:
    """The value of the header webhook-signature."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{id}.{timestamp}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode("ascii")


class Webhooks:
    """The messages in a service's database, and what sends them."""

    def __init__(
        self,
        database: Database,
        *,
        allow: Sequence[str] = (),
        resolver: Resolver = resolved,
        trust: ssl.SSLContext | None = None,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`allow` are networks, as 10.0.0.0/8, that are allowed although they are inside."""
        self._db = database
        self._inside = Networks(allow)
        self._resolver = resolver
        # made when it is first needed: reading all authorities takes 30 ms
        self._trust = trust
        self._patience = patience
        self._clock = clock
        self._sending: dict[asyncio.Task[None], str] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()

    # ------------------------------------------------------------------------ in

    async def check(self, url: str) -> str:
        """A URL that messages may be sent to; raises BadValue for any other.

        It is looked at again at each try.
        """
        target = target_of(url)
        try:
            await asyncio.wait_for(self._addresses(target), self._patience)
        except (OSError, asyncio.TimeoutError) as error:
            raise BadValue(f"the host of a webhook, {target.host}, is not found") from error
        return url

    def enqueue(self, owner: str, job_id: str, url: str, type: str, data: Mapping[str, Any]) -> str:
        """Send a message soon; returns its id. Inside a transaction it is part of that.

        `type` is as "job.succeeded". Of what is too large only the job's id is sent, and that more
        is to be asked for. Raises BadValue for a URL that `check` refuses for its form.
        """
        target_of(url)
        now = self._clock()
        moment = datetime.fromtimestamp(now, timezone.utc).isoformat(timespec="milliseconds")
        message = {"type": type, "timestamp": moment.replace("+00:00", "Z"), "data": dict(data)}
        body = json.dumps(message, separators=(",", ":"))
        if len(body) > MOST_BYTES:
            kept = {name: data[name] for name in ("traceparent",) if name in data}
            message["data"] = {"id": job_id, "truncated": True, **kept}
            body = json.dumps(message, separators=(",", ":"))
        row = {
            "id": f"msg_{uuid.uuid4().hex}",
            "owner": owner,
            "job_id": job_id,
            "url": url,
            "body": body,
            "state": DeliveryState.PENDING.value,
            "attempts": 0,
            "due_at": now,
            "created_at": now,
            "error": "",
        }
        with self._db.transaction() as connection:
            connection.execute(sa.insert(table), row)
        self.arrived()
        return str(row["id"])

    def secret(self, owner: str) -> str:
        """What the messages of an owner are signed with, made when it is first asked for."""
        query = sa.select(signing.c.secret).where(signing.c.owner == owner)
        with self._db.reading() as connection:
            known = connection.execute(query).scalar_one_or_none()
        if known is not None:
            return str(known)
        # 256 bits; Standard Webhooks wants 192 to 512
        made = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode("ascii")
        row = {"owner": owner, "secret": made, "created_at": self._clock()}
        with self._db.transaction() as connection:
            # Another process may make one now; the first counts.
            connection.execute(self._db.insert_missing(signing), row)
            return str(connection.execute(query).scalar_one())

    def drop_owner(self, owner: str) -> None:
        """Send nothing more of an owner, and forget its secret: its key was revoked."""
        change = (
            sa.update(table)
            .where(table.c.owner == owner, table.c.state == DeliveryState.PENDING.value)
            .values(
                state=DeliveryState.FAILED.value,
                ended_at=self._clock(),
                error="the key was revoked",
            )
        )
        with self._db.transaction() as connection:
            connection.execute(change)
            connection.execute(sa.delete(signing).where(signing.c.owner == owner))

    # ----------------------------------------------------------------------- out

    def of_job(self, job_id: str) -> list[Delivery]:
        """The messages of a job, oldest first."""
        query = sa.select(table).where(table.c.job_id == job_id).order_by(table.c.created_at)
        with self._db.reading() as connection:
            return [_delivery_of(row) for row in connection.execute(query)]

    def forget_old(self) -> int:
        """Remove messages that ended a week ago; returns how many. Call it now and then."""
        old = sa.delete(table).where(
            table.c.state != DeliveryState.PENDING.value, table.c.ended_at < self._clock() - _KEPT
        )
        with self._db.transaction() as connection:
            return int(connection.execute(old).rowcount)

    # ------------------------------------------------------------------- sending

    def arrived(self) -> None:
        """There is a new message; from any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._news.set)

    async def run(self) -> None:
        """Send what is due, for ever; cancel the task to end it.

        A message that is on its way then is sent again by the next process, under the same id.
        """
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                self._news.clear()
                try:
                    pause = await self._send_due()
                except SpriteworksError as error:
                    _log.warning("webhooks are not sent now: %s", error)
                    pause = _LOOK
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._news.wait(), pause)
        finally:
            self._loop = None
            sending = list(self._sending)
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)

    async def send_due(self) -> int:
        """Send what is due now, and wait for the answers; returns how many were sent."""
        count = 0
        while True:
            await self._send_due()
            if not self._sending:
                return count
            count += len(self._sending)
            await asyncio.gather(*self._sending)

    async def _send_due(self) -> float:
        """Begin to send what is due, as far as there is room; returns s until the next look."""
        busy = Counter(self._sending.values())
        room = _AT_ONCE - len(self._sending)
        claimed, pause = await asyncio.to_thread(self._claim, busy, room)
        for delivery in claimed:
            task = asyncio.create_task(self._deliver(delivery))
            self._sending[task] = delivery.owner
            task.add_done_callback(self._sent)
        return pause

    def _sent(self, task: asyncio.Task[None]) -> None:
        del self._sending[task]
        if not task.cancelled() and task.exception() is not None:
            # It is taken up again when its time as ours is over.
            _log.warning("a webhook's outcome was not noted: %s", task.exception())
        # there is room for another
        self._news.set()

    def _claim(self, busy: Mapping[str, int], room: int) -> tuple[list[Delivery], float]:
        """Take up messages that are due: owners by turns, and of each as many as it may."""
        now = self._clock()
        pending = table.c.state == DeliveryState.PENDING.value
        turn = sa.func.row_number().over(partition_by=table.c.owner, order_by=table.c.due_at)
        due = (
            sa.select(table, turn.label("turn"))
            .where(pending, table.c.due_at <= now)
            .order_by(sa.literal_column("turn"), table.c.due_at)
            .limit(_AT_ONCE * _OF_ONE)
        )
        soonest = sa.select(sa.func.min(table.c.due_at)).where(pending, table.c.due_at > now)
        count = Counter(busy)
        found: list[Delivery] = []
        with self._db.transaction() as connection:
            for row in connection.execute(due).all():
                if len(found) >= room:
                    break
                if count[row.owner] >= _OF_ONE:
                    continue
                taken = connection.execute(
                    sa.update(table)
                    .where(table.c.id == row.id, table.c.due_at == row.due_at, pending)
                    .values(due_at=now + _LEASE, attempts=row.attempts + 1)
                )
                if taken.rowcount == 1:
                    count[row.owner] += 1
                    found.append(_delivery_of(row, attempts=row.attempts + 1))
            following = connection.execute(soonest).scalar_one_or_none()
        return found, min(_LOOK, _LOOK if following is None else max(following - now, 0.05))

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            answer = await asyncio.wait_for(self._try(delivery), self._patience)
        except asyncio.TimeoutError:
            answer = _Answer(error=f"no answer within {self._patience:g} s")
        await asyncio.to_thread(self._note, delivery, answer)

    async def _try(self, delivery: Delivery) -> _Answer:
        """Send a message once."""
        try:
            target = target_of(delivery.url)
            addresses = await self._addresses(target)
        except BadValue as error:
            return _Answer(error=str(error), final=True)
        except OSError as error:
            return _Answer(error=f"its host is not found ({_reason(error)})")
        body = delivery.body.encode()
        secret = await asyncio.to_thread(self.secret, delivery.owner)
        timestamp = int(self._clock())
        headers = {
            "Host": target.netloc,
            "User-Agent": f"spriteworks/{__version__}",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
            "webhook-id": delivery.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(secret, delivery.id, timestamp, body),
        }
        trace = json.loads(body)["data"].get("traceparent")
        if isinstance(trace, str) and parsed(trace) is not None:
            headers["traceparent"] = trace
        answer = _Answer(error="its host has no address")
        for address in addresses:
            try:
                return await self._post(target, address, headers, body)
            except (OSError, asyncio.IncompleteReadError, ssl.CertificateError) as error:
                answer = _Answer(error=f"the connection failed ({_reason(error)})")
            except h11.ProtocolError:
                # Its words would show what was answered.
                return _Answer(error="what answers speaks no HTTP")
        return answer

    async def _post(
        self, target: WebAddress, address: str, headers: Mapping[str, str], body: bytes
    ) -> _Answer:
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LONGEST_HEAD)
        request = h11.Request(method="POST", target=target.path, headers=list(headers.items()))
        sent = b"".join(
            part
            for event in (request, h11.Data(data=body), h11.EndOfMessage())
            if (part := connection.send(event)) is not None
        )
        if target.is_tls and self._trust is None:
            self._trust = ssl.create_default_context()
        context = self._trust if target.is_tls else None
        # The address, not the name: the name may resolve to something else by now.
        reader, writer = await asyncio.open_connection(
            address,
            target.port,
            ssl=context,
            server_hostname=target.host if context is not None else None,
        )
        try:
            writer.write(sent)
            await writer.drain()
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await reader.read(4096))
                elif isinstance(event, h11.Response):
                    return _judged(event)
                elif not isinstance(event, h11.InformationalResponse):
                    return _Answer(error="the connection was closed without an answer")
        finally:
            # Without its goodbyes, which a receiver could take its time for.
            writer.transport.abort()

    async def _addresses(self, target: WebAddress) -> list[str]:
        """The addresses of a host; raises BadValue where one of them is inside."""
        found = list(await self._resolver(target.host, target.port))
        for address in found:
            self._inside.check(address, target.host)
        return found

    def _note(self, delivery: Delivery, answer: _Answer) -> None:
        now = self._clock()
        values: dict[str, Any] = {"status": answer.status, "error": answer.error}
        if not answer.error:
            values |= {"state": DeliveryState.DELIVERED.value, "ended_at": now}
        elif answer.final or delivery.attempts > len(PAUSES):
            values |= {"state": DeliveryState.FAILED.value, "ended_at": now}
        else:
            # a tenth more or less, so that those that failed together do not come together
            pause = PAUSES[delivery.attempts - 1] * random.uniform(0.9, 1.1)
            values["due_at"] = now + max(pause, answer.retry_after or 0.0)
        change = (
            sa.update(table)
            .where(table.c.id == delivery.id, table.c.state == DeliveryState.PENDING.value)
            .values(**values)
        )
        with self._db.transaction() as connection:
            connection.execute(change)


def _judged(response: h11.Response) -> _Answer:
    """What an answer means, as Standard Webhooks has it."""
    status = response.status_code
    if 200 <= status < 300:
        return _Answer(status=status)
    if status == 410:
        return _Answer(status=status, error="the receiver wants no more of it (410)", final=True)
    what = "a redirect, which is not followed" if 300 <= status < 400 else "no success"
    wait = next((value for name, value in response.headers if name == b"retry-after"), b"")
    after = float(wait) if re.fullmatch(rb"[0-9]{1,6}", wait) else 0.0
    return _Answer(
        status=status,
        error=f"the receiver answered {status}, {what}",
        retry_after=min(after, _LONGEST_WAIT),
    )


def _delivery_of(row: Any, attempts: int | None = None) -> Delivery:
    return Delivery(
        id=row.id,
        owner=row.owner,
        job_id=row.job_id,
        url=row.url,
        body=row.body,
        state=DeliveryState(row.state),
        attempts=row.attempts if attempts is None else attempts,
        due_at=row.due_at,
        created_at=row.created_at,
        ended_at=row.ended_at,
        status=row.status,
        error=row.error,
    )


def _reason(error: BaseException) -> str:
    # Some of it is what a receiver wrote.
    text = "".join(one if one.isprintable() else " " for one in str(error)[:200]).strip()
    return text or type(error).__name__
