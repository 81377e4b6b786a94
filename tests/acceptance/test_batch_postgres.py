"""The record of a batch in PostgreSQL, on a real server; see conftest.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator.batch import production as batch
from orchestrator.batch.execution.store import upgrading
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.jobs import Job, State
from orchestrator.batch.reporting.report import page
from orchestrator.errors import IllegalTransition, StoreError, StoreUnreachable
from orchestrator.local.process import free_port, python_environment
from orchestrator.local.serving import Choice
from orchestrator.testing import FakeServer, Fault

psycopg = pytest.importorskip("psycopg", reason="pip install 'spriteworks[postgresql]'")

GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}


@pytest.fixture
def url(postgres_url: str) -> str:
    """A database of its own for each test."""
    return postgres_url


def manifest(folder: Path, count: int) -> Path:
    (folder / "graph.json").write_text(json.dumps(GRAPH), encoding="utf-8")
    path = folder / "dots.yaml"
    items = [
        {"id": f"dot-{n}", "set": {"1.color": n}, "output": "{id}"} for n in range(1, count + 1)
    ]
    text = {"name": "dots", "workflow": "graph.json", "items": items}
    path.write_text(json.dumps(text), encoding="utf-8")
    return path


class Silent:
    def happened(self, kind: str, **details: object) -> None:
        """Take note of nothing."""


@pytest.fixture
def fakes() -> Iterator[list[FakeServer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(FakeServer()) for _ in range(2)]


def test_a_batch_runs_is_judged_reported_and_changed(
    tmp_path: Path, url: str, fakes: list[FakeServer]
) -> None:
    out = tmp_path / "out"
    choice = Choice(urls=tuple(one.url for one in fakes))
    request = batch.BatchRequest(manifest=manifest(tmp_path, 30), out=out, choice=choice, store=url)
    fakes[0].break_next("POST", "/prompt", Fault.RESET_AFTER)
    assert batch.run(request, Silent()).is_complete
    assert len(list(out.glob("*.png"))) == 30
    assert not (out / "batch.sqlite").exists()

    # What comes later finds the database by the folder.
    status = batch.status(out)
    assert (status["total"], status["done"]) == (30, 30)
    assert "dot-30" in page.write(out).read_text("utf-8")
    (out / "dot-7.png").unlink()
    text = json.loads(request.manifest.read_text("utf-8"))
    text["gates"] = {"duplicate": None}
    text["items"] = text["items"][:20]
    request.manifest.write_text(json.dumps(text), encoding="utf-8")
    assert not batch.run(request, Silent()).is_complete
    counts = batch.status(out)
    # All pictures of the fake are equal.
    assert (counts["done"], counts["failed"], counts["unwanted"]) == (1, 19, 10)
    assert batch.retry(out) == 19
    assert batch.cancel(out) == 19


def old_batch(folder: Path, url: str) -> Path:
    """The folder of a batch whose record is of version 1, and lies in PostgreSQL."""
    data = Path(__file__).resolve().parent.parent / "data" / "batches"
    with zipfile.ZipFile(data / "version-1-postgresql.zip") as archive:
        archive.extractall(folder)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute((folder / "record.sql").read_bytes())
    pointer = folder / "out" / "batch.store.json"
    found = json.loads(pointer.read_text("utf-8"))
    pointer.write_text(json.dumps({**found, "url": url}), encoding="utf-8")
    return folder / "out"


def test_an_old_record_is_upgraded_and_its_work_goes_on(
    tmp_path: Path, url: str, fakes: list[FakeServer]
) -> None:
    out = old_batch(tmp_path, url)
    before = {path.name: path.read_bytes() for path in out.glob("*.png")}
    choice = Choice(urls=tuple(one.url for one in fakes))
    request = batch.BatchRequest(manifest=tmp_path / "dots.yaml", out=out, choice=choice)
    result = batch.run(request, Silent())
    counts = {state.value: count for state, count in result.counts.items() if count}
    assert counts == {"done": 8, "failed": 1, "cancelled": 1}
    # What was there was not made again.
    assert sum(len(fake.submissions) for fake in fakes) == 2
    assert {name: (out / name).read_bytes() for name in before} == before
    with Store.open(out) as store:
        texts = [event.text for event in store.events()]
    assert any("from version 1" in text for text in texts)


@pytest.mark.parametrize("moment", range(1, 12))
def test_an_upgrade_that_is_cut_off_leaves_the_old_record(
    tmp_path: Path, url: str, moment: int
) -> None:
    out = old_batch(tmp_path, url)
    upgrade, left = upgrading.upgrade, [moment]

    def cut(connection: sa.Connection, name: str) -> int:
        def ran(*_: object) -> None:
            left[0] -= 1
            if left[0] == 0:
                # as where the process is killed: the database sees the connection end
                os.close(os.dup2(os.open(os.devnull, os.O_RDWR), raw.fileno()))

        raw = connection.connection.driver_connection
        assert raw is not None
        sa.event.listen(connection, "after_cursor_execute", ran)
        return upgrade(connection, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upgrading, "upgrade", cut)
        with pytest.raises(StoreError):
            Store.open(out)
    with psycopg.connect(url) as connection:
        query = "SELECT column_name FROM information_schema.columns WHERE table_name = 'jobs'"
        assert ("cancel",) not in connection.execute(query).fetchall()
        assert connection.execute("SELECT to_regclass('alembic_version')").fetchone() == (None,)
    with Store.open(out) as store:
        assert store.counts()[State.DONE] == 6


def test_several_make_a_record_at_once(tmp_path: Path, url: str) -> None:
    with Store.open(tmp_path, url=url):
        pass
    with psycopg.connect(url, autocommit=True) as connection:
        token = connection.execute("SELECT value FROM facts WHERE name = 'batch'").fetchone()
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    assert token is not None
    failures: list[BaseException] = []

    def work() -> None:
        try:
            Store.open(tmp_path).close()
        except BaseException as error:  # noqa: BLE001  (handed to the test's own thread)
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_moves_that_are_not_legal_change_nothing(tmp_path: Path, url: str) -> None:
    with Store.open(tmp_path, url=url) as store:
        store.plan(_jobs())
        keys = [job.key for job in store.pending(5)]
        with pytest.raises(IllegalTransition):
            store.move([keys[0], keys[1]], State.SUBMITTED)
        assert len(store.pending(5)) == 3


def _jobs() -> list[Job]:
    return [
        Job(key=f"{n:064}", name=f"n{n}", item_id="i", parameters={"ü": "%s %(a)s"}, seed=2**64 - n)
        for n in range(1, 4)
    ]


def test_threads_share_a_store(tmp_path: Path, url: str) -> None:
    with Store.open(tmp_path, url=url) as store:
        failures: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for turn in range(20):
                    store.log(f"{number} {turn} 100 %", warning=True)
                    store.events(limit=3)
            except BaseException as error:  # noqa: BLE001  (handed to the test's own thread)
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert len(store.events()) == 80


def test_a_killed_run_goes_on(tmp_path: Path, url: str, fakes: list[FakeServer]) -> None:
    for fake in fakes:
        fake.pace = 0.01
    path, out = manifest(tmp_path, 40), tmp_path / "out"

    def start() -> subprocess.Popen[str]:
        arguments = ["run", str(path), "--out", str(out), "--store", url]
        for fake in fakes:
            arguments += ["--server", fake.url]
        return subprocess.Popen(
            [sys.executable, "-m", "orchestrator", "batch", *arguments],
            env={**os.environ, **python_environment()},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )

    for goal in (9, 25):
        process = start()
        late = time.monotonic() + 60
        while sum(len(fake.submissions) for fake in fakes) < goal and process.poll() is None:
            assert time.monotonic() < late
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = start()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert len(list(out.glob("*.png"))) == 40
    sent = Counter(one.graph["1"]["inputs"]["color"] for fake in fakes for one in fake.submissions)
    assert sent == {number: 1 for number in range(1, 41)}


def test_a_database_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be used") as caught:
        Store.open(tmp_path, url=f"postgresql://ann:secret@127.0.0.1:{free_port()}/x")
    assert "secret" not in str(caught.value)


def test_what_is_read_together_is_one_view(tmp_path: Path, url: str) -> None:
    with Store.open(tmp_path, url=url) as store, Store.open(tmp_path) as other:
        store.plan(_jobs())
        with store.database.reading():
            before = store.counts()
            other.move_all([State.PENDING], State.CANCELLED)
            assert store.counts() == before
            assert len(store.pending(5)) == before[State.PENDING] == 3
        assert store.counts()[State.CANCELLED] == 3
        # A transaction sees what others have done by then, as a compare-and-set must.
        with store.transaction():
            store.log("a transaction has begun")
            other.move_all([State.CANCELLED], State.PENDING)
            assert store.counts()[State.PENDING] == 3


def test_a_process_that_freezes_inside_a_transaction_loses_it(tmp_path: Path, url: str) -> None:
    query = sa.text("SELECT current_setting('idle_in_transaction_session_timeout')")
    with Store.open(tmp_path, url=url) as store:
        with store.transaction() as connection:
            assert connection.execute(query).scalar() == "20s"
            store.database.take_your_time()
            assert connection.execute(query).scalar() == "0"
        with pytest.raises(StoreUnreachable):
            _freeze(store, url)
        assert store.counts()


def _freeze(store: Store, url: str) -> None:
    """Stay in a transaction for longer than one may."""
    with store.transaction() as connection:
        connection.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = 50"))
        wait_until_alone(url)
        with pytest.raises(StoreUnreachable):
            store.counts()
        # Nor can it go on.
        store.counts()


def wait_until_alone(url: str) -> None:
    """Wait until the database has ended every other connection."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    late = time.monotonic() + 60
    with psycopg.connect(url, autocommit=True) as watcher:
        while watcher.execute(query).fetchone() != (1,):
            assert time.monotonic() < late
