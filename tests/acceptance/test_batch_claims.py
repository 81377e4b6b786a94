"""Several processes claim from one record, in SQLite and in PostgreSQL; some freeze, some die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from freezing import freeze

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from orchestrator.batch.execution.store import tables  # noqa: E402
from orchestrator.batch.execution.store.place import FILE_NAME  # noqa: E402
from orchestrator.batch.execution.store.store import Store  # noqa: E402
from orchestrator.batch.logic.jobs import Job, Outcome, State  # noqa: E402
from orchestrator.errors import StoreError  # noqa: E402
from scripts import bench_claims  # noqa: E402


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def url(request: pytest.FixtureRequest) -> str:
    """Where a record is; "" is a file in its folder."""
    if request.param == "SQLite":
        return ""
    found: str = request.getfixturevalue("postgres_url")
    return found


@pytest.mark.parametrize("owners", [1, 7])
def test_two_thousand_jobs_are_each_claimed_once(url: str, owners: int) -> None:
    found = bench_claims.measure(url, jobs=2000, processes=4, owners=owners, close=True)
    assert found["each_once"]


def planned(number: int) -> Job:
    key = f"{number:064}"
    return Job(key=key, name=f"n{number}", item_id="i", parameters={}, seed=number)


# Claims one job after the other for a short lease, says so, and ends each when a line comes.
ORCHESTRATOR = """
import sys
from pathlib import Path
from orchestrator.batch.execution.dispatcher import DispatchSettings, Dispatcher, Fate, Finished
from orchestrator.batch.logic.jobs import Artifact
from orchestrator.batch.execution.leases import Renewal
from orchestrator.batch.execution.store.store import Store

class Silent:
    def happened(self, kind, **details):
        pass

folder, name = sys.argv[1:]
with Store.open(Path(folder)) as store:
    settings = DispatchSettings(owner=name, lease=2.0, endless=True)
    dispatcher = Dispatcher(store, Silent(), settings)
    dispatcher.join("http://" + name)
    with Renewal(dispatcher):
        while assignment := dispatcher.take("http://" + name):
            job = assignment.jobs[0]
            print(job.name, flush=True)
            if not sys.stdin.readline():
                break
            artifact = Artifact(
                key=job.key, path=f"{job.name}-by-{name}.png", sha256="", pixels_sha256="",
                bytes=1, mtime_ns=1, width=1, height=1, seed=0, attempt_id=assignment.attempt.id,
            )
            finished = Finished(
                assignment=assignment, artifacts=[artifact], seconds=1.0, spans=[]
            )
            dispatcher.done(finished)
            print(dispatcher.fate(assignment), flush=True)
"""


def orchestrator(folder: Path, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", ORCHESTRATOR, str(folder), name],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def wait_for_take_over(store: Store) -> list[Any]:
    for _ in range(600):
        if taken := store.take_over("rescuer", 60.0):
            return taken
        # The lease is by the database's clock, which tells nobody.
        time.sleep(0.05)
    raise AssertionError("no lease ran out")


@pytest.mark.skipif(os.name == "nt", reason="Windows freezes no process")
def test_an_orchestrator_that_freezes_past_its_lease_writes_nothing_of_what_it_lost(
    tmp_path: Path, url: str
) -> None:
    with Store.open(tmp_path, url=url) as store:
        store.plan(map(planned, range(2)))
        frozen = orchestrator(tmp_path, "frozen")
        try:
            assert said(frozen) == "n0"
            # As long as it lives, nobody takes it over.
            assert store.take_over("rescuer", 60.0) == []
            freeze(frozen.pid, tmp_path / FILE_NAME)
            (attempt,) = wait_for_take_over(store)
            store.close_attempt(attempt.id, Outcome.CANCELLED, owner="rescuer")
            store.move([attempt.shots[0].key], State.PENDING)
            frozen.send_signal(signal.SIGCONT)
            go_on(frozen)
            assert said(frozen) == "Fate.LOST"
            assert store.artifacts(attempt.shots[0].key) == []
            one = store.attempts_of(attempt.shots[0].key)[0]
            assert (one.outcome, one.owner) == (Outcome.CANCELLED, "rescuer")
            # Then it works on, on what was put back.
            assert said(frozen) in ("n0", "n1")
            go_on(frozen)
        finally:
            frozen.kill()
            frozen.communicate()


def test_what_a_killed_orchestrator_had_is_free_after_a_lease(tmp_path: Path, url: str) -> None:
    with Store.open(tmp_path, url=url) as store:
        store.plan(map(planned, range(2)))
        killed = orchestrator(tmp_path, "killed")
        assert said(killed) == "n0"
        killed.kill()
        killed.communicate()
        (attempt,) = wait_for_take_over(store)
        assert [shot.key for shot in attempt.shots] == [planned(0).key]


def test_a_connection_that_is_cut_is_made_anew(tmp_path: Path, postgres_url: str) -> None:
    psycopg = pytest.importorskip("psycopg")
    with Store.open(tmp_path, url=postgres_url) as store:
        store.plan(map(planned, range(3)))
        for use in (
            lambda: store.renew("me", 9.0),
            lambda: store.counts(),
            lambda: store.pending(3),
        ):
            with psycopg.connect(postgres_url, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE pid <> pg_backend_pid() AND datname = current_database()"
                )
            with pytest.raises(StoreError):
                use()
            assert store.counts()[State.PENDING] == 3
            use()


def test_nothing_was_claimed_twice_in_the_shots(tmp_path: Path, url: str) -> None:
    """Two who claim the same jobs at once: one gets all of a graph's jobs, or none."""
    with Store.open(tmp_path, url=url) as store:
        store.plan(map(planned, range(40)))
    processes = [orchestrator(tmp_path, name) for name in ("a", "b", "c")]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n" * 50)
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=120)
    with Store.open(tmp_path) as store:
        assert store.counts()[State.DONE] == 40
        claimed = Counter(row.key for row in store.rows(sa.select(tables.shots.c.key)))
        assert set(claimed.values()) == {1}
        assert len(store.artifacts()) == 40
