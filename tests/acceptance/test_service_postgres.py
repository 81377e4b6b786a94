"""What a service keeps, in PostgreSQL, by several processes at once; see conftest.py."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator.batch.execution.store.database import Database
from orchestrator.errors import AccessDenied, NotFound
from orchestrator.service.assets import Assets
from orchestrator.service.home import record_in
from orchestrator.service.keys import Keys
from orchestrator.service.limits import Limits
from orchestrator.service.storage import Storage
from orchestrator.service.webhooks import DeliveryState, Webhooks

pytest.importorskip("psycopg", reason="pip install 'spriteworks[postgresql]'")


@pytest.fixture
def databases(postgres_url: str, tmp_path: Path) -> Iterator[Callable[[], Database]]:
    """Connections to one record, as several processes have them."""
    with record_in(tmp_path / "record", postgres_url), ExitStack() as stack:
        yield lambda: stack.enter_context(closing(Database(postgres_url)))


def test_a_key_that_one_process_makes_opens_in_another(databases: Callable[[], Database]) -> None:
    one, other = Keys(databases(), fresh=0), Keys(databases(), fresh=0)
    key, secret = one.create("x", Limits(queue=3))
    assert other.check(secret) == key
    one.note_use()
    other.revoke(key.id)
    with pytest.raises(AccessDenied):
        one.check(secret)


def test_processes_that_add_and_delete_the_same_bytes(
    databases: Callable[[], Database], tmp_path: Path
) -> None:
    """A file whose row is there has its bytes, whichever process removes what meanwhile."""
    failures: list[BaseException] = []
    every = [Assets(databases(), Storage(tmp_path / "files")) for _ in range(4)]

    def work(assets: Assets, owner: str) -> None:
        try:
            for number in range(60):
                made = assets.add(owner, b"the same", "a.txt")
                with assets.content(owner, made.id).chunks as chunks:
                    assert b"".join(chunks) == b"the same"
                if number % 3:
                    again = assets.from_hash(owner, made.hash)
                    assets.delete(owner, again.id)
                assets.delete(owner, made.id)
                assets.expire()
        except BaseException as error:  # noqa: BLE001  (shown by the test)
            failures.append(error)

    threads = [
        threading.Thread(target=work, args=(assets, f"owner {number}"))
        for number, assets in enumerate(every)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert not [path for path in (tmp_path / "files").rglob("*") if path.is_file()]


def test_a_removal_waits_for_an_upload_of_the_same_bytes(
    databases: Callable[[], Database], tmp_path: Path
) -> None:
    """The upload has found the bytes there and not committed yet, when the last file goes."""
    storage = Storage(tmp_path / "files")
    database = databases()
    uploading, removing = Assets(database, storage), Assets(databases(), storage)
    first = removing.add("ann", b"the same", "a.txt")
    begun = threading.Event()

    def remove() -> None:
        begun.set()
        removing.delete("ann", first.id)

    thread = threading.Thread(target=remove)
    with database.transaction():
        made = uploading.add("bob", b"the same", "b.txt")
        thread.start()
        begun.wait()
        # It can only wait: the row of the content is held.
        thread.join(0.5)
        assert thread.is_alive()
    thread.join()
    with pytest.raises(NotFound):
        removing.get("ann", first.id)
    with uploading.content("bob", made.id).chunks as chunks:
        assert b"".join(chunks) == b"the same"


def test_what_is_lost_is_removed_and_what_is_known_stays(
    databases: Callable[[], Database], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(tmp_path / "files")
    assets = Assets(databases(), storage)
    made = assets.add("ann", b"known", "a.txt")
    lost = storage.put(b"lost")
    monkeypatch.setattr(Storage, "old", lambda self: iter([made.hash, lost.hash]))
    assert assets.tidy() == 1
    assert storage.has(made.hash)
    assert not storage.has(lost.hash)


def test_two_processes_send_a_message_once(databases: Callable[[], Database]) -> None:
    answered: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        answered.append(next(line for line in head.split(b"\r\n") if b"webhook-id" in line))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    async def both() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        senders = [Webhooks(databases(), allow=["127.0.0.0/8"]) for _ in range(3)]
        for number in range(60):
            senders[0].enqueue(f"owner {number % 6}", f"job {number}", url, "job.succeeded", {})
        counts = await asyncio.gather(*(sender.send_due() for sender in senders))
        assert sum(counts) == 60
        for number in range(60):
            (found,) = senders[1].of_job(f"job {number}")
            assert (found.state, found.attempts) == (DeliveryState.DELIVERED, 1)
        server.close()

    asyncio.run(both())
    assert len(answered) == len(set(answered)) == 60


def test_owners_that_two_processes_ask_for_at_once_have_one_secret(
    databases: Callable[[], Database],
) -> None:
    every = [Webhooks(databases()) for _ in range(4)]
    found: list[str] = []

    def ask(webhooks: Webhooks) -> None:
        found.extend(webhooks.secret(f"owner {number}") for number in range(40))

    threads = [threading.Thread(target=ask, args=(one,)) for one in every]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 160
    assert len(set(found)) == 40
    with every[0]._db.reading() as connection:
        assert connection.execute(sa.text("select count(*) from signing")).scalar_one() == 40
