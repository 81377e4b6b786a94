"""Records of earlier versions: opened, upgraded in place, and never left halfway."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import threading
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from orchestrator.batch.execution.store import migrations, tables, upgrading
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.execution.store.verification import verify
from orchestrator.batch.logic.jobs import Attempt, Outcome, Shot, State
from orchestrator.errors import StoreError
from orchestrator.service import tables as service_tables

ROOT = Path(__file__).resolve().parent.parent.parent
BATCHES = ROOT / "tests" / "data" / "batches"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The folder of a batch whose record is of version 1."""
    with zipfile.ZipFile(BATCHES / "version-1.zip") as archive:
        archive.extractall(tmp_path / "old")
    return tmp_path / "old" / "out"


def rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """All that is in a record, by table."""
    with closing(sqlite3.connect(folder / "batch.sqlite")) as connection:
        connection.row_factory = sqlite3.Row
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master")]
        return {
            name: [dict(row) for row in connection.execute(f"SELECT * FROM {name}")]
            for name in tables.metadata.tables
            if name in names
        }


def without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def version(folder: Path) -> str:
    return next(row["value"] for row in rows(folder)["facts"] if row["name"] == "version")


def test_nothing_of_an_old_record_is_lost(old: Path) -> None:
    before = rows(old)
    assert version(old) == "1"
    Store.open(old).close()
    after = rows(old)
    assert version(old) == str(tables.VERSION)
    assert [without(row, "owner", "cancel", "asked_roll") for row in after["jobs"]] == before[
        "jobs"
    ]
    assert {(row["owner"], row["cancel"]) for row in after["jobs"]} == {("", 0)}
    assert [without(row, "owner", "lease") for row in after["attempts"]] == before["attempts"]
    for name in ("shots", "artifacts", "timings"):
        assert before[name]
        assert after[name] == before[name]
    assert after["events"][: len(before["events"])] == before["events"]
    assert "from version 1" in after["events"][-1]["text"]


def test_the_work_of_an_old_record_goes_on(old: Path) -> None:
    with Store.open(old, create=False) as store:
        assert verify(store, old, thorough=True).sentences() == []
        counts = {state: count for state, count in store.counts().items() if count}
        assert counts == {
            State.DONE: 6,
            State.FAILED: 1,
            State.CANCELLED: 1,
            State.CLAIMED: 1,
            State.PENDING: 1,
        }
        (left,) = store.take_over("me", 30.0)
        assert left.server == "http://127.0.0.1:9"
        store.close_attempt(left.id, Outcome.CANCELLED, owner="me")
        store.move([left.shots[0].key], State.PENDING)
        assert [job.name for job in store.pending(9)] == ["dot-8", "dot-9"]


def test_a_record_that_was_upgraded_is_like_a_new_one(old: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    for folder in (old, tmp_path / "new"):
        Store.open(folder).close()
        engine = sa.create_engine(f"sqlite:///{folder / 'batch.sqlite'}")
        with engine.connect() as connection:
            context = MigrationContext.configure(connection)
            # which has the service's, too
            assert service_tables.metadata is tables.metadata
            assert compare_metadata(context, tables.metadata) == []
            assert context.get_current_revision() == str(tables.VERSION)
        engine.dispose()


def test_the_version_is_the_latest_migration() -> None:
    folder = str(Path(migrations.__file__).parent)
    scripts = ScriptDirectory(folder, version_locations=[folder])
    assert scripts.get_heads() == [str(tables.VERSION)]
    revisions = [script.revision for script in scripts.walk_revisions()]
    assert revisions == [str(number) for number in range(tables.VERSION, 0, -1)]


@pytest.mark.parametrize("found", ["99", "3rd"])
def test_a_record_that_is_not_known_is_refused_and_left_alone(old: Path, found: str) -> None:
    with closing(sqlite3.connect(old / "batch.sqlite")) as connection, connection:
        connection.execute("UPDATE facts SET value = ? WHERE name = 'version'", [found])
    before = (old / "batch.sqlite").read_bytes()
    with pytest.raises(StoreError, match="version"):
        Store.open(old)
    assert (old / "batch.sqlite").read_bytes() == before


def killed_at(moment: int, folder: Path) -> int:
    """Open a record in a child that dies after so many statements of the upgrade; its status."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        upgrade, left = upgrading.upgrade, [moment]

        def counted(connection: sa.Connection, name: str) -> int:
            def ran(*_: object) -> None:
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

            sa.event.listen(connection, "after_cursor_execute", ran)
            return upgrade(connection, name)

        upgrading.upgrade = counted
        Store.open(folder).close()
    except BaseException:  # noqa: BLE001  (a child of a test never goes on as pytest)
        os._exit(1)
    os._exit(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a fork of itself")
def test_an_upgrade_that_is_killed_leaves_the_old_record(old: Path, tmp_path: Path) -> None:
    before = rows(old)
    for moment in range(1, 100):
        folder = tmp_path / f"killed-{moment}"
        shutil.copytree(old, folder)
        ended = killed_at(moment, folder)
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
        assert rows(folder) == before
        # and then it goes on
        Store.open(folder).close()
        assert version(folder) == str(tables.VERSION)
        assert len(rows(folder)["jobs"]) == 10
    # Alembic's own table, its row, five columns, two indexes, both versions
    assert moment > 8


def test_several_open_an_old_record_at_once(old: Path) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with Store.open(old) as store:
                assert store.counts()[State.DONE] == 6
        except BaseException as error:  # noqa: BLE001  (handed to the test's own thread)
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    told = [row["text"] for row in rows(old)["events"] if "was upgraded" in row["text"]]
    assert len(told) == 1


def test_the_version_before_still_works_in_a_record_that_was_upgraded(old: Path) -> None:
    """As where `status` of a new version looks at a batch that an old one is working on."""
    before = rows(old)
    Store.open(old).close()
    attempt = before["attempts"][0] | {"id": None, "prompt_id": "another", "outcome": None}
    job = before["jobs"][0] | {"key": "k", "state": "pending", "place": 99, "name": "later"}
    with closing(sqlite3.connect(old / "batch.sqlite")) as connection, connection:
        for table, row in (("attempts", attempt), ("jobs", job)):
            names = ", ".join(f'"{name}"' for name in row)
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", [*row.values()])
    with Store.open(old) as store:
        assert store.pending(9)[-1].name == "later"
        shot = Shot(key="k", seed=None)
        store.claim(Attempt(prompt_id="x", server="s", shots=(shot,)), owner="me", seconds=9.0)
        # What the old one writes down is nobody's, so it may be taken over.
        assert "x" not in {one.prompt_id for one in store.take_over("other", 9.0)}
