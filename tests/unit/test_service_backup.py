"""Backups of a service: whole, of one moment, and brought back as they were."""

from __future__ import annotations

import json
import sqlite3
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from orchestrator.batch.execution.store.database import Database, sqlite_url
from orchestrator.batch.execution.store.folder_lock import held
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.execution.store.tables import VERSION
from orchestrator.errors import BatchBusy, InputError, SpriteworksError, StoreError, UsageError
from orchestrator.service import migrating
from orchestrator.service.assets import Assets
from orchestrator.service.backup import archive, record
from orchestrator.service.backup.making import BackupSource, make
from orchestrator.service.backup.manifest import BackupManifest
from orchestrator.service.backup.restoring import Destination, restore
from orchestrator.service.storage import Storage, hash_of


@contextmanager
def service(folder: Path) -> Iterator[Assets]:
    folder.mkdir(exist_ok=True)
    with Store.open(folder) as store:
        yield Assets(store.database, Storage(folder / "files"))


def filled(folder: Path, count: int = 3) -> dict[str, bytes]:
    """A service's folder with files in it: their contents by id."""
    with service(folder) as assets:
        contents = [f"file {number}".encode() * (number + 1) for number in range(count)]
        return {assets.add("ann", one, f"{n}.txt").id: one for n, one in enumerate(contents)}


def source(folder: Path, *, may_lack: bool = False) -> BackupSource:
    storage = Storage(folder / "files")
    return BackupSource(url=sqlite_url(folder / "batch.sqlite"), storage=storage, may_lack=may_lack)


def contents(folder: Path) -> dict[str, bytes]:
    """What a service has, by id, each read to its end."""
    with Store.open(folder, create=False) as store:
        assets = Assets(store.database, Storage(folder / "files"))
        with store.database.reading() as connection:
            ids = connection.exec_driver_sql("SELECT id, owner FROM assets").all()
        return {id: assets.storage.read(assets.get(owner, id).hash) for id, owner in ids}


def whole(backup: Path) -> int:
    """Hold a backup to its promise: each row's file is in it; returns how many rows."""
    with archive.reader(backup) as reader:
        there = {
            hash_of(iter(lambda stream=stream: stream.read(999), b""))  # type: ignore[misc]
            for _, stream in reader.files()
        }
        copy = backup.parent / f"{backup.name}-record"
        copy.write_bytes(reader.record().read())
    with closing(sqlite3.connect(copy)) as connection:
        named = [hash for (hash,) in connection.execute("SELECT hash FROM assets")]
    assert set(named) <= there
    return len(named)


@pytest.mark.parametrize("name", ["backup", "backup.tar"])
def test_what_was_kept_comes_back(tmp_path: Path, name: str) -> None:
    before = filled(tmp_path / "service")
    made = make(source(tmp_path / "service"), tmp_path / name)
    assert (made.files, made.file_bytes) == (3, sum(map(len, before.values())))
    assert whole(tmp_path / name) == 3
    there = Destination(folder=tmp_path / "há é" / "new")
    assert restore(tmp_path / name, there) == made
    assert contents(there.folder) == before


def test_a_folder_is_brought_up_to_date(tmp_path: Path) -> None:
    ids = list(filled(tmp_path / "service"))
    backup = tmp_path / "backup"
    make(source(tmp_path / "service"), backup)
    kept = {path: path.stat().st_ino for path in backup.glob("files/??/*")}
    with service(tmp_path / "service") as assets:
        assets.delete("ann", ids[0])
        assets.add("bob", b"more", "more.txt")
    assert make(source(tmp_path / "service"), backup).files == 3
    after = {path: path.stat().st_ino for path in backup.glob("files/??/*")}
    # Two stayed as they were, one went and one came; of the record there is one.
    assert len(kept.items() & after.items()) == 2
    assert len(after) == 3
    assert len(list(backup.glob("record-*"))) == 1
    assert not list(backup.glob(".making-*"))
    assert whole(backup) == 3


def test_files_that_come_and_go_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "service"
    ids = list(filled(folder, 40))
    over = threading.Event()
    begun = threading.Event()

    def stir() -> None:
        with service(folder) as assets:
            for number, id in enumerate(ids):
                if over.is_set():
                    return
                assets.delete("ann", id)
                later = assets.add("bob", f"later {number}".encode(), "x.txt")
                # some are gone again at once
                if number % 3 == 0:
                    assets.delete("bob", later.id)
                begun.set()

    stirring = threading.Thread(target=stir)
    stirring.start()
    assert begun.wait(60)
    try:
        for name in ("one", "two", "three.tar"):
            make(source(folder), tmp_path / name)
            whole(tmp_path / name)
    finally:
        over.set()
        stirring.join()


def test_another_moment_is_taken_where_a_file_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "service"
    filled(folder)
    taken = []
    real = record.frozen

    @contextmanager
    def frozen(url: str, work: Path) -> Iterator[record.Frozen]:
        taken.append(url)
        with service(folder) as assets:
            # It is in the second moment, and gone when it is copied.
            late = assets.add("bob", b"late", "late.txt") if len(taken) == 2 else None
            with real(url, work) as moment:
                if late:
                    assets.delete("bob", late.id)
                yield moment

    monkeypatch.setattr(record, "frozen", frozen)
    made = make(source(folder), tmp_path / "backup")
    assert len(taken) == 3
    assert made.files == 3
    assert whole(tmp_path / "backup") == 3


def test_a_file_that_the_storage_lost_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "service"
    filled(folder)
    gone = next(folder.glob("files/??/*"))
    gone.unlink()
    with pytest.raises(StoreError, match=f"lost 1 files.*{gone.name}.*--allow-missing"):
        make(source(folder), tmp_path / "backup")
    assert not (tmp_path / "backup").exists()
    made = make(source(folder, may_lack=True), tmp_path / "backup")
    assert made.missing == (f"blake3:{gone.name}",)
    assert made.files == 2
    assert restore(tmp_path / "backup", Destination(folder=tmp_path / "new")).files == 2


def test_a_damaged_file_is_never_kept(tmp_path: Path) -> None:
    folder = tmp_path / "service"
    filled(folder)
    one = next(folder.glob("files/??/*"))
    one.write_bytes(b"?" * one.stat().st_size)
    with pytest.raises(StoreError, match="another hash"):
        make(source(folder), tmp_path / "b.tar")
    assert not list(tmp_path.glob("*b.tar*"))
    assert not list(tmp_path.glob(".making-*"))


def test_a_full_disk_leaves_the_earlier_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, backup = tmp_path / "service", tmp_path / "backup"
    before = filled(folder)
    make(source(folder), backup)
    with service(folder) as assets:
        assets.add("ann", b"more", "more.txt")

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(archive, "_sync", full)
        with pytest.raises(SpriteworksError, match="make room"):
            make(source(folder), backup)
    restore(backup, Destination(folder=tmp_path / "new"))
    assert contents(tmp_path / "new") == before


def test_nothing_is_written_over_without_force(tmp_path: Path) -> None:
    before = filled(tmp_path / "service")
    make(source(tmp_path / "service"), tmp_path / "b.tar")
    with pytest.raises(UsageError, match="--force"):
        make(source(tmp_path / "service"), tmp_path / "b.tar")
    make(source(tmp_path / "service"), tmp_path / "b.tar", force=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="no backup"):
        make(source(tmp_path / "service"), tmp_path / "mine", force=True)

    other = filled(tmp_path / "other", 1)
    there = Destination(folder=tmp_path / "other")
    with pytest.raises(UsageError, match="--force"):
        restore(tmp_path / "b.tar", there)
    assert contents(there.folder) == other
    restore(tmp_path / "b.tar", Destination(folder=there.folder, force=True))
    assert contents(there.folder) == before
    assert (there.folder / "batch.sqlite.replaced").is_file()


def test_a_service_at_work_is_not_restored_over(tmp_path: Path) -> None:
    before = filled(tmp_path / "service")
    make(source(tmp_path / "service"), tmp_path / "backup")
    forced = Destination(folder=tmp_path / "service", force=True)
    with held(tmp_path / "service"), pytest.raises(BatchBusy):
        restore(tmp_path / "backup", forced)
    # A worker has the database open, and not the folder's lock.
    with service(tmp_path / "service"), pytest.raises(StoreError, match="open; stop"):
        restore(tmp_path / "backup", forced)
    assert contents(tmp_path / "service") == before


def changed(backup: Path, **values: object) -> None:
    path = backup / "backup.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_damaged_backup_changes_nothing(tmp_path: Path) -> None:
    backup, new = tmp_path / "backup", Destination(folder=tmp_path / "new")
    filled(tmp_path / "service")
    make(source(tmp_path / "service"), backup)
    one = next(backup.glob("files/??/*"))
    right = one.read_bytes()
    one.write_bytes(right[:-1] + b"?")
    with pytest.raises(InputError, match=f"{one.name} has another hash"):
        restore(backup, new)
    one.unlink()
    with pytest.raises(InputError, match="2 files, and should have 3"):
        restore(backup, new)
    one.write_bytes(right)
    kept = next(backup.glob("record-*"))
    whole_record = kept.read_bytes()
    kept.write_bytes(whole_record[:-1] + b"?")
    with pytest.raises(InputError, match="record of the backup is damaged"):
        restore(backup, new)
    kept.write_bytes(whole_record)
    for values, words in [
        ({"record": "../../etc/passwd"}, "damaged"),
        ({"record_version": VERSION + 1}, "later version"),
        ({"form": 2}, "later form"),
        ({"kind": "postgresql"}, "--store"),
        ({"kind": "oracle"}, "can be read"),
    ]:
        before = (backup / "backup.json").read_text()
        changed(backup, **values)
        with pytest.raises(SpriteworksError, match=words):
            restore(backup, new)
        (backup / "backup.json").write_text(before)
    assert not new.folder.exists()
    restore(backup, new)


def test_what_is_no_backup_is_refused(tmp_path: Path) -> None:
    new = Destination(folder=tmp_path / "new")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.tar").write_text("no tar")
    with tarfile.open(tmp_path / "other.tar", "w") as other:
        other.add(tmp_path / "text.tar", "files/text")
    for name in ("nothing.tar", "empty", "text.tar", "other.tar"):
        with pytest.raises(InputError, match=name):
            restore(tmp_path / name, new)
    assert not new.folder.exists()


def test_a_tar_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "service")
    make(source(tmp_path / "service"), tmp_path / "b.tar")
    content = (tmp_path / "b.tar").read_bytes()
    for length in (len(content) // 2, 700):
        (tmp_path / "cut.tar").write_bytes(content[:length])
        with pytest.raises(InputError):
            restore(tmp_path / "cut.tar", Destination(folder=tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_the_record_alone(tmp_path: Path) -> None:
    folder = tmp_path / "service"
    before = filled(folder)
    only = BackupSource(url=sqlite_url(folder / "batch.sqlite"), storage=None)
    made: BackupManifest = make(only, tmp_path / "record.tar")
    assert made.files is None
    with service(folder) as assets:
        assets.add("ann", b"later", "later.txt")
    restore(tmp_path / "record.tar", Destination(folder=folder, force=True))
    assert contents(folder) == before


def test_tables_are_brought_to_this_version(tmp_path: Path, repository: Path) -> None:
    with zipfile.ZipFile(repository / "tests" / "data" / "batches" / "version-1.zip") as archive:
        archive.extractall(tmp_path)
    old = tmp_path / "out"
    assert migrating.planned(old).is_needed
    assert migrating.planned(old) == migrating.planned(old)
    other = Database(sqlite_url(old / "batch.sqlite"))
    with closing(other), pytest.raises(StoreError, match="open; stop"):
        migrating.migrate(old, alone=True)
    found = migrating.migrate(old, alone=True)
    assert (found.before, found.after) == (1, VERSION)
    assert not migrating.planned(old).is_needed
    with pytest.raises(UsageError, match="--data"):
        migrating.planned(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_backup_has_what_only_the_log_has(tmp_path: Path) -> None:
    """SQLite's newest rows are in its write-ahead log, which a copy of the file would miss."""
    folder = tmp_path / "service"
    with service(folder) as assets:
        asset = assets.add("ann", b"new", "new.txt")
        assert (folder / "batch.sqlite-wal").stat().st_size > 0
        make(source(folder), tmp_path / "backup")
    restore(tmp_path / "backup", Destination(folder=tmp_path / "new"))
    assert contents(tmp_path / "new") == {asset.id: b"new"}
    assert time.time() - asset.created_at < 3600
