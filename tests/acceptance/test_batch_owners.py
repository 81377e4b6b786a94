"""Several orchestrators on one batch: one is killed, freezes, joins; the database goes away."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from freezing import freeze
from orchestrator.batch.execution.store import tables
from orchestrator.batch.execution.store.place import FILE_NAME
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.jobs import Outcome, State
from orchestrator.local.process import python_environment
from orchestrator.runs.looking import look
from orchestrator.testing import FakeServer

ROOT = Path(__file__).resolve().parent.parent.parent
# s, for which what must come is waited for
LONG = 120.0
# s
LEASE = 5.0
# s for each node of a server that shall not get on before all are at work
HELD = 2.0
GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}

# `batch run` and `batch run --join` with a lease that a test can wait for
ORCHESTRATOR = """
import json, sys
from pathlib import Path
from orchestrator.batch import production
from orchestrator.batch.execution.store import database
from orchestrator.local.serving import Choice

# s that SQLite waits for a lock before it says so
database._PATIENCE = 1

class Told:
    def happened(self, kind, **details):
        if kind in ("note", "end"):
            print(json.dumps({"kind": kind, **details}), flush=True)

what, manifest, out, store, lease, *urls = sys.argv[1:]
request = production.BatchRequest(
    manifest=Path(manifest), out=Path(out), choice=Choice(urls=tuple(urls)), store=store,
    lease=float(lease),
)
result = (production.join if what == "join" else production.run)(request, Told())
sys.exit(0 if result.is_complete else 4)
"""


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def url(request: pytest.FixtureRequest) -> str:
    """Where a record is; "" is a file in its folder."""
    if request.param == "SQLite":
        return ""
    found: str = request.getfixturevalue("postgres_url")
    return found


@pytest.fixture
def fakes() -> Iterator[list[FakeServer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(FakeServer()) for _ in range(3)]


class Batch:
    """A batch of dots, and the orchestrators that work on it."""

    def __init__(self, folder: Path, url: str, count: int) -> None:
        self.folder, self.out, self.url, self.count = folder, folder / "out", url, count
        (folder / "graph.json").write_text(json.dumps(GRAPH), encoding="utf-8")
        items = [{"id": f"dot-{n}", "set": {"1.color": n}, "output": "{id}"} for n in self.numbers]
        manifest = {"name": "dots", "workflow": "graph.json", "items": items}
        (folder / "dots.yaml").write_text(json.dumps(manifest), encoding="utf-8")
        self._processes: list[subprocess.Popen[str]] = []

    @property
    def numbers(self) -> range:
        return range(1, self.count + 1)

    def start(self, what: str, *servers: FakeServer) -> subprocess.Popen[str]:
        """`run` or `join` with these servers, in a process of its own."""
        urls = [server.url for server in servers]
        store = self.url if what == "run" else ""
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", ORCHESTRATOR, what, str(self.folder / "dots.yaml")),
                *(str(self.out), store, str(LEASE), *urls),
            ],
            cwd=ROOT,
            env={**os.environ, **python_environment()},
            stdout=(self.folder / f"{what}-{len(self._processes)}.txt").open("w"),
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        self._processes.append(process)
        return process

    def said(self) -> str:
        """What all of them have told so far."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*-*.txt")))

    def until(self, so: Callable[[], bool]) -> None:
        late = time.monotonic() + LONG
        while not so():
            assert time.monotonic() < late, self.said()
            time.sleep(0.01)

    def ends_well(self, *processes: subprocess.Popen[str]) -> None:
        for process in processes:
            assert process.wait(LONG) == 0, self.said()

    def is_whole(self) -> None:
        """Each picture is there, is its own job's, and counts once."""
        expected = {f"dot-{number}.png": number for number in self.numbers}
        assert {path.name for path in self.out.glob("*.png")} == set(expected), self.said()
        for name, number in expected.items():
            found = look(self.out / name)
            assert found.graph is not None
            assert found.graph["1"]["inputs"]["color"] == number
        with Store.open(self.out) as store:
            assert store.counts()[State.DONE] == self.count
            assert store.open_attempts() == []
            done = sa.select(tables.shots.c.key).join(
                tables.attempts, tables.attempts.c.id == tables.shots.c.attempt_id
            )
            rows = store.rows(done.where(tables.attempts.c.outcome == Outcome.DONE.value))
            assert Counter(row.key for row in rows) == Counter(
                artifact.key for artifact in store.artifacts()
            )

    def end(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.fixture
def batch(tmp_path: Path, url: str) -> Iterator[Batch]:
    found = Batch(tmp_path, url, 40)
    yield found
    found.end()


def made(*fakes: FakeServer) -> int:
    return sum(len(fake.submissions) for fake in fakes)


def joined_by(
    batch: Batch, fakes: list[FakeServer]
) -> tuple[subprocess.Popen[str], list[subprocess.Popen[str]]]:
    """A run with the first server, and one that joins for each other; all have something."""
    for fake in fakes:
        fake.pace = HELD
    run = batch.start("run", fakes[0])
    batch.until(lambda: made(fakes[0]) > 0)
    joined = [batch.start("join", fake) for fake in fakes[1:]]
    batch.until(lambda: all(fake.submissions for fake in fakes))
    return run, joined


def colours(*fakes: FakeServer) -> Counter[int]:
    """How often each job was sent."""
    return Counter(one.graph["1"]["inputs"]["color"] for fake in fakes for one in fake.submissions)


def test_several_make_one_batch_without_doubling(batch: Batch, fakes: list[FakeServer]) -> None:
    run, joined = joined_by(batch, fakes)
    for fake in fakes:
        fake.pace = 0.02
    batch.ends_well(run, *joined)
    batch.is_whole()
    assert colours(*fakes) == {number: 1 for number in batch.numbers}


def test_what_a_killed_one_had_is_brought_home_by_who_is_at_work(
    batch: Batch, fakes: list[FakeServer]
) -> None:
    run, (killed,) = joined_by(batch, fakes[:2])
    killed.kill()
    fakes[0].pace = fakes[1].pace = 0.02
    batch.ends_well(run)
    batch.is_whole()
    # Its server still had what it was sent; nothing of it was made again.
    assert colours(*fakes) == {number: 1 for number in batch.numbers}
    assert "of an orchestrator that let it go" in batch.said()


@pytest.mark.slow
def test_what_a_killed_one_had_on_a_server_that_died_too_is_made_again(
    batch: Batch, fakes: list[FakeServer]
) -> None:
    run, (killed,) = joined_by(batch, fakes[:2])
    killed.kill()
    fakes[1].die()
    fakes[0].pace = 0.02
    batch.ends_well(run)
    batch.is_whole()


@pytest.mark.slow
def test_who_holds_the_folder_is_killed_and_its_successor_leaves_the_others_alone(
    batch: Batch, fakes: list[FakeServer]
) -> None:
    run, joined = joined_by(batch, fakes)
    run.kill()
    again = batch.start("run", fakes[0])
    batch.until(lambda: "still has" in batch.said())
    for fake in fakes:
        fake.pace = 0.02
    batch.ends_well(again, *joined)
    batch.is_whole()
    assert colours(*fakes) == {number: 1 for number in batch.numbers}


@pytest.mark.skipif(os.name == "nt", reason="Windows freezes no process")
def test_one_that_freezes_past_its_lease_loses_what_it_had_and_works_on(
    batch: Batch, fakes: list[FakeServer]
) -> None:
    run, (joined,) = joined_by(batch, fakes[:2])
    freeze(joined.pid, batch.out / FILE_NAME)
    fakes[0].pace = fakes[1].pace = 0.02
    with Store.open(batch.out) as store:
        theirs = {one.id for one in store.open_attempts() if one.server == fakes[1].url}

        def taken() -> bool:
            rows = store.rows(sa.select(tables.attempts.c.id, tables.attempts.c.outcome))
            return all(row.outcome for row in rows if row.id in theirs)

        batch.until(taken)
        before = {path.name: path.stat().st_mtime_ns for path in batch.out.glob("*.png")}
        kept = {one.path: one.attempt_id for one in store.artifacts()}
    joined.send_signal(signal.SIGCONT)
    batch.ends_well(run, joined)
    batch.is_whole()
    with Store.open(batch.out) as store:
        after = {one.path: one.attempt_id for one in store.artifacts()}
    # What the thawed one still had in its hands counts for nothing, on the disk as well.
    assert {name: after[name] for name in kept} == kept
    assert before == {name: (batch.out / name).stat().st_mtime_ns for name in before}
    assert "was taken over by another orchestrator" in batch.said()
    assert list((batch.out / ".parts").iterdir()) == []


def test_a_sqlite_record_that_is_locked_for_long_is_waited_for(
    tmp_path: Path, fakes: list[FakeServer]
) -> None:
    batch = Batch(tmp_path, "", 30)
    fakes[0].pace = 0.05
    process = batch.start("run", fakes[0])
    try:
        batch.until(lambda: made(fakes[0]) > 2)
        with closing(sqlite3.connect(batch.out / "batch.sqlite", timeout=LONG)) as other:
            other.execute("BEGIN IMMEDIATE")
            batch.until(lambda: "cannot be reached" in batch.said())
            other.rollback()
        batch.ends_well(process)
        batch.is_whole()
        assert "can be reached again" in batch.said()
    finally:
        batch.end()


class Postgres:
    """The server of a database, to be stopped as a crash does and started again."""

    def __init__(self, url: str) -> None:
        psycopg = pytest.importorskip("psycopg")
        with psycopg.connect(url) as connection:
            self._data = Path(connection.execute("SHOW data_directory").fetchone()[0])
            query = "SELECT setting FROM pg_config WHERE name = 'BINDIR'"
            self._program = Path(connection.execute(query).fetchone()[0]) / "pg_ctl"

    def stop(self) -> None:
        self._call("-m", "immediate", "stop")

    def start(self) -> None:
        self._call("-o", self._options, "-l", str(self._data / "log"), "start")

    def _call(self, *arguments: str) -> None:
        owner = self._data.stat().st_uid
        if arguments[-1] == "stop":
            # what it was started with, program and quotes aside
            told = (self._data / "postmaster.opts").read_text()
            self._options = (
                told.partition(" ")[2].replace('"', "").replace("-D " + str(self._data), "")
            )
        subprocess.run(
            [str(self._program), "-D", str(self._data), "-w", *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            user=owner if os.getuid() == 0 else None,
        )


@pytest.fixture
def postgres(postgres_url: str) -> Postgres:
    if os.environ.get("SPRITEWORKS_TEST_POSTGRES"):
        pytest.skip("the server of SPRITEWORKS_TEST_POSTGRES is not ours to stop")
    return Postgres(postgres_url)


def test_a_database_that_is_started_anew_at_once_costs_no_picture(
    tmp_path: Path, postgres_url: str, postgres: Postgres, fakes: list[FakeServer]
) -> None:
    batch = Batch(tmp_path, postgres_url, 60)
    try:
        run, joined = joined_by(batch, fakes)
        for fake in fakes:
            fake.pace = 0.1
        for goal in (12, 24, 36):
            batch.until(lambda goal=goal: made(*fakes) > goal)  # type: ignore[misc]
            postgres.stop()
            postgres.start()
        batch.ends_well(run, *joined)
        batch.is_whole()
        assert "can be reached again" in batch.said()
    finally:
        batch.end()


@pytest.mark.slow
def test_a_database_that_is_away_for_longer_than_a_lease_is_waited_for(
    tmp_path: Path, postgres_url: str, postgres: Postgres, fakes: list[FakeServer]
) -> None:
    batch = Batch(tmp_path, postgres_url, 40)
    try:
        run, joined = joined_by(batch, fakes[:2])
        postgres.stop()
        fakes[0].pace = fakes[1].pace = 0.02
        # That long it is away, whatever anybody does.
        time.sleep(LEASE + 1)
        postgres.start()
        batch.ends_well(run, *joined)
        batch.is_whole()
        # Whoever could not renew was given the time to, and nothing was made twice.
        assert colours(*fakes) == {number: 1 for number in batch.numbers}
    finally:
        batch.end()
