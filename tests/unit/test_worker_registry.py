"""Who workers are: names, signs of life, what they may work on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from orchestrator.batch.execution.store import tables
from orchestrator.batch.execution.store.database import Database, sqlite_url
from orchestrator.batch.execution.store.statements import now
from orchestrator.batch.execution.store.store import Store
from orchestrator.cli import app
from orchestrator.errors import OtherVersion, StoreError, UsageError, WorkerReplaced
from orchestrator.service.loop import ServerView
from orchestrator.service.tables import workers as table
from orchestrator.service.workers import registry as module
from orchestrator.service.workers.catalogue_store import CatalogueStore
from orchestrator.service.workers.joining import SERVICE, record_of, service_at
from orchestrator.service.workers.outbox import Kind, Outbox, Told
from orchestrator.service.workers.registry import Registry, Stage, WorkerServer, WorkerStatus
from orchestrator.testing import OBJECT_INFO
from orchestrator.workflow.catalogue import Catalogue
from service_parts import opened
from service_world import until


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as database:
        yield database


@pytest.fixture
def registry(database: Database) -> Registry:
    return Registry(database)


def _age(database: Database, name: str, seconds: float) -> None:
    """Let a worker's latest sign be so long ago."""
    with database.transaction() as connection:
        old = table.update().where(table.c.name == name).values(beat_at=now() - seconds)
        connection.execute(old)


def _elsewhere(database: Database, name: str) -> None:
    with database.transaction() as connection:
        connection.execute(table.update().where(table.c.name == name).values(host="elsewhere"))


def _status(registry: Registry) -> dict[str, WorkerStatus]:
    return {one.name: one.status for one in registry.workers()}


def test_a_worker_is_named_by_its_machine_and_a_number(registry: Registry) -> None:
    names = [registry.enlist(f"owner {number}").worker.name for number in range(2)]
    assert names[0].endswith("-1")
    assert names[1].endswith("-2")
    assert _status(registry) == dict.fromkeys(names, WorkerStatus.LIVE)


def test_a_name_is_one_workers(registry: Registry) -> None:
    registry.enlist("first", "paints")
    with pytest.raises(
        UsageError, match=f"worker paints is at work already .process {os.getpid()}"
    ):
        registry.enlist("second", "paints")


def test_a_name_of_another_machine_is_free_when_it_gave_no_sign(
    registry: Registry, database: Database
) -> None:
    registry.enlist("first", "paints")
    _elsewhere(database, "paints")
    with pytest.raises(UsageError, match="on elsewhere"):
        registry.enlist("second", "paints")
    _age(database, "paints", module.STALE + 1)
    assert _status(registry) == {"paints": WorkerStatus.STALE}
    enlisted = registry.enlist("second", "paints")
    assert enlisted.predecessor == "first"


def test_the_next_of_a_dead_process_has_its_name_at_once(
    registry: Registry, database: Database
) -> None:
    """On its own machine a dead process is known as dead, also where another has its number."""
    registry.enlist("first")
    with database.transaction() as connection:
        connection.execute(table.update().values(born=1.0))
    enlisted = registry.enlist("second")
    assert enlisted.worker.name.endswith("-1")
    assert enlisted.predecessor == "first"


def test_another_machine_of_the_same_name_is_another(
    registry: Registry, database: Database
) -> None:
    """As copies of a machine are, and containers that were given one host name."""
    registry.enlist("first")
    with database.transaction() as connection:
        connection.execute(table.update().values(machine="0" * 64, born=1.0))
    enlisted = registry.enlist("second")
    assert enlisted.worker.name.endswith("-2")
    assert enlisted.predecessor == ""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such processes")
def test_the_next_of_a_killed_process_need_not_wait_until_it_was_reaped(
    registry: Registry, database: Database
) -> None:
    registry.enlist("first", "paints")
    process = subprocess.Popen([sys.executable, "-c", ""])
    try:
        there = psutil.Process(process.pid)
        born = there.create_time()
        until(there.status, lambda status: status == psutil.STATUS_ZOMBIE)
        with database.transaction() as connection:
            connection.execute(table.update().values(pid=process.pid, born=born))
        assert registry.enlist("second", "paints").predecessor == "first"
    finally:
        process.wait()


def test_whoever_was_replaced_is_told(registry: Registry, database: Database) -> None:
    first = registry.enlist("first", "paints").worker
    _age(database, "paints", module.STALE + 1)
    registry.enlist("second", "paints")
    with pytest.raises(WorkerReplaced, match="start it again"):
        registry.beat(first)
    registry.tell_progress(first, {"x": {}})
    assert registry.progress() == {}


def test_a_worker_that_was_forgotten_comes_back(registry: Registry, database: Database) -> None:
    worker = registry.enlist("first", "paints").worker
    _age(database, "paints", module.FORGOTTEN + 1)
    registry.forget_old()
    assert registry.workers() == []
    registry.beat(worker)
    assert _status(registry) == {"paints": WorkerStatus.LIVE}


def test_one_that_left_leaves_what_its_servers_had(registry: Registry) -> None:
    worker = registry.enlist("first", "paints").worker
    having = [WorkerServer(view=ServerView(name="a", is_ours=False, worker="paints", done=3))]
    registry.beat(replace(worker, stage=Stage.DRAINING), having)
    assert _status(registry) == {"paints": WorkerStatus.DRAINING}
    registry.leave(worker)
    assert _status(registry) == {"paints": WorkerStatus.LEFT}
    assert registry.servers() == having
    assert not registry.enlist("second", "paints").worker.age


@pytest.mark.parametrize("name", ["x" * 65, "two\nlines", " x"])
def test_names_that_nobody_has(registry: Registry, name: str) -> None:
    with pytest.raises(UsageError, match="--name"):
        registry.enlist("owner", name)


def test_catalogues_are_kept_once(database: Database, registry: Registry) -> None:
    shelf = CatalogueStore(database)
    one, same = Catalogue(dict(OBJECT_INFO)), Catalogue(dict(OBJECT_INFO))
    hash = shelf.put(one)
    assert shelf.put(same) == hash
    engine = shelf.put(Catalogue(dict(OBJECT_INFO), engine=True))
    assert engine != hash
    found = shelf.get(hash)
    assert found is not None
    assert found.raw == OBJECT_INFO
    assert not found.is_engine
    worker = registry.enlist("first", "paints").worker
    view = ServerView(name="a", is_ours=False, worker="paints")
    registry.beat(worker, [WorkerServer(view=view, catalogue=engine)])
    shelf.clear()
    assert shelf.get(hash) is None
    assert shelf.get(engine) is not None


def test_news_are_heard_once_in_their_order(database: Database) -> None:
    news = Outbox(database)
    told = [Told(request=str(one), kind=Kind.LOG, data={"error": "x"}) for one in range(600)]
    news.tell(*told)
    heard = [*news.take(), *news.take()]
    assert heard == told
    assert news.take() == []


def test_news_of_a_transaction_that_fails_are_none(database: Database) -> None:
    news = Outbox(database)

    def fail() -> None:
        with database.transaction():
            news.tell(Told(request="x", kind=Kind.LOG))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert news.take() == []


# ------------------------------------------------------------------------------- joining


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a service."""
    made = tmp_path / "a service"
    made.mkdir()
    with Store.open(made) as store:
        store.set_fact(SERVICE, "x")
    return made


def test_a_service_is_found_by_its_folder_or_its_database(folder: Path) -> None:
    url = sqlite_url(folder / "batch.sqlite")
    by_folder = service_at(folder, "", "", {})
    assert by_folder == service_at(None, url, "", {})
    assert by_folder == service_at(None, "", "", {"SPRITEWORKS_DATA": str(folder)})
    assert by_folder == service_at(None, "", "", {"SPRITEWORKS_DATABASE": url})
    assert by_folder.storage == folder / "files"
    elsewhere = service_at(folder, "", "", {"SPRITEWORKS_STORAGE": "s3://x/y"})
    assert elsewhere.storage == "s3://x/y"
    with record_of(by_folder) as store:
        assert store.fact(SERVICE) == "x"


def test_a_database_elsewhere_needs_to_know_the_files(tmp_path: Path) -> None:
    url = "postgresql://sprites@db/sprites"
    with pytest.raises(UsageError, match="--storage"):
        service_at(None, url, "", {})
    assert service_at(None, url, "", {}, files=False).database == url
    assert service_at(None, url, "s3://x/y", {}).storage == "s3://x/y"


@pytest.mark.parametrize(
    ("data", "url", "words"),
    [("empty", "", "no service has its data in"), ("", "sqlite:////no/such", "no such file")],
)
def test_where_no_service_is(tmp_path: Path, data: str, url: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        service_at(tmp_path / data if data else None, url, "", {})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_given_as_a_database_is_said_to_be_one(folder: Path) -> None:
    with pytest.raises(UsageError, match="--data"):
        service_at(None, str(folder), "", {})


def test_the_record_of_a_batch_is_no_service(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    with (
        pytest.raises(StoreError, match="the record of no service"),
        record_of(service_at(tmp_path, "", "", {})),
    ):
        pass


@pytest.mark.parametrize(
    ("version", "words"),
    [(tables.VERSION + 1, "bring the worker up"), (tables.VERSION - 1, "bring the service up")],
)
def test_a_record_of_another_version_is_refused_and_left_as_it_is(
    folder: Path, version: int, words: str
) -> None:
    with Store.open(folder) as store:
        store.set_fact("version", str(version))
    with (
        pytest.raises(OtherVersion, match=words),
        record_of(service_at(folder, "", "", {})),
    ):
        pass
    with closing(Database(sqlite_url(folder / "batch.sqlite"))) as database:
        assert Store(database).fact("version") == str(version)


def test_a_server_of_a_worker_that_is_gone_is_listed_as_closed(folder: Path) -> None:
    def column() -> str:
        result = CliRunner().invoke(app, ["workers", "--data", str(folder)])
        head, row = result.stdout.splitlines()
        return row[head.index("OPEN") :].split()[0]

    view = ServerView(name="http://a", is_ours=False, is_open=True, worker="paints")
    with record_of(service_at(folder, "", "", {})) as store:
        registry = Registry(store.database)
        worker = registry.enlist("first", "paints").worker
        registry.beat(worker, [WorkerServer(view=view)])
        assert column() == "yes"
        registry.leave(worker)
        assert column() == "no"
