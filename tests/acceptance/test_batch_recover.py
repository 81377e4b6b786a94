"""A batch whose record is lost: told, rebuilt from its pictures, and nothing is made again."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from orchestrator.batch import production as batch
from orchestrator.batch.execution.store.folder_lock import held
from orchestrator.batch.execution.store.kept_plan import FILE_NAME as KEPT
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.jobs import State
from orchestrator.batch.recovery.recovered import Recovered
from orchestrator.batch.recovery.recovery import Wish, recover
from orchestrator.batch.reporting.report import contact, page
from orchestrator.errors import BatchBusy, RecordLost, UsageError
from orchestrator.local.process import python_environment
from orchestrator.local.serving import Choice
from orchestrator.runs.looking import SUFFIXES
from orchestrator.testing import FakeServer

PLAIN = {"width": 8, "height": 8, "batch_size": 1, "color": 0}
GRAPH: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": PLAIN},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
# Two nodes save; the second one a larger picture.
TWICE: dict[str, Any] = {
    **GRAPH,
    "3": {"class_type": "EmptyImage", "inputs": {**PLAIN, "width": 16}},
    "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "y"}},
}
SQLITE = "batch.sqlite"


class Deaf:
    def happened(self, kind: str, **details: Any) -> None:
        """Take note of nothing."""


class Batch:
    """A manifest, a folder, a server that counts what is sent."""

    def __init__(self, folder: Path, fake: FakeServer) -> None:
        self.folder, self.out, self.fake = folder, folder / "out", fake
        self.manifest = folder / "dots.yaml"

    @property
    def record(self) -> Path:
        return self.out / SQLITE

    def want(self, names: Sequence[str], graph: Any = GRAPH, **more: Any) -> None:
        (self.folder / "graph.json").write_text(json.dumps(graph), encoding="utf-8")
        items = [
            {"id": f"item{number}", "output": name, "set": {"1.color": number}}
            for number, name in enumerate(names)
        ]
        text = {"name": "dots", "workflow": "graph.json", "items": items, **more}
        self.manifest.write_text(json.dumps(text), encoding="utf-8")

    def run(self) -> batch.BatchResult:
        choice = Choice(urls=(self.fake.url,))
        request = batch.BatchRequest(manifest=self.manifest, out=self.out, choice=choice)
        return batch.run(request, Deaf())

    def recover(self, **wish: Any) -> Recovered:
        return recover(self.out, Wish(**wish), lambda *told: None)

    def files(self) -> dict[str, bytes]:
        """The pictures in the folder."""
        found = (path for path in self.out.rglob("*") if path.suffix in SUFFIXES.values())
        return {path.relative_to(self.out).as_posix(): path.read_bytes() for path in found}

    def sent(self) -> Counter[int]:
        """How often each colour was sent to the server."""
        return Counter(one.graph["1"]["inputs"]["color"] for one in self.fake.submissions)

    def exchange(self, one: str, other: str) -> None:
        first, second = self.out / one, self.out / other
        third = self.out / "third"
        first.rename(third)
        second.rename(first)
        third.rename(second)

    def states(self) -> Counter[State]:
        with Store.open(self.out, create=False) as store:
            return Counter(entry.state for entry in store.entries())


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def dots(tmp_path: Path, fake: FakeServer) -> Batch:
    """A batch of six pictures that is complete."""
    made = Batch(tmp_path, fake)
    made.want(["a", "b", "c", "deep/d", "deep/e", "ünïcode-字"])
    assert made.run().is_complete
    return made


# ------------------------------------------------------------------------------ damage


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def without_tables(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE x (y)")
        connection.execute("DROP TABLE x")
    connection.close()


def without_rows(path: Path) -> None:
    _delete(path, "facts", "jobs", "artifacts", "attempts", "shots", "events", "timings")


def without_jobs(path: Path) -> None:
    _delete(path, "jobs", "artifacts")


def without_pictures(path: Path) -> None:
    _delete(path, "artifacts")


def _delete(path: Path, *tables: str) -> None:
    connection = sqlite3.connect(path)
    for table in tables:
        connection.execute(f"DELETE FROM {table}")
    connection.commit()
    connection.close()


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scribbled(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = b"\x5a" * len(content[4096:])
    path.write_bytes(content)


def no_database(path: Path) -> None:
    path.write_bytes(b"this is no database, and longer than its header" * 100)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "mine.txt").write_text("keep")


def of_another_program(path: Path) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE songs (title)")
    connection.execute("INSERT INTO songs VALUES ('x')")
    connection.commit()
    connection.close()


def of_a_newer_version(path: Path) -> None:
    _set_version(path, "999")


def of_no_version(path: Path) -> None:
    _set_version(path, "x")


def _set_version(path: Path, version: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE facts SET value = ? WHERE name = 'version'", [version])
    connection.commit()
    connection.close()


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "deleted": (Path.unlink, "is gone"),
    "emptied": (emptied, "is empty"),
    "without_tables": (without_tables, "has no tables"),
    "without_rows": (without_rows, "has nothing in its tables"),
    "without_jobs": (without_jobs, "has nothing in its tables"),
    "without_pictures": (without_pictures, "knows no picture"),
    "cut_off": (cut_off, "is damaged"),
    "scribbled": (scribbled, "is damaged"),
    "no_database": (no_database, "is damaged"),
    "a_folder": (a_folder, "is no file"),
    "of_another_program": (of_another_program, "another program"),
    "of_a_newer_version": (of_a_newer_version, "another version"),
    "of_no_version": (of_no_version, "is damaged"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_lost_record_is_told_rebuilt_and_nothing_is_made_again(dots: Batch, damage: str) -> None:
    harm, words = DAMAGES[damage]
    before, sent = dots.files(), dots.sent()
    harm(dots.record)
    left = dots.record.read_bytes() if dots.record.is_file() else None
    commands: list[Callable[[], Any]] = [
        dots.run,
        lambda: batch.status(dots.out),
        lambda: batch.retry(dots.out),
        lambda: batch.cancel(dots.out),
        lambda: batch.export(dots.out),
        lambda: page.write(dots.out),
        lambda: contact.write(dots.out),
    ]
    for command in commands:
        with pytest.raises(RecordLost, match=words) as told:
            command()
        assert f"`spriteworks batch recover {dots.out}`" in str(told.value)
        assert "\n" not in str(told.value)
    # Whoever told of it has changed nothing.
    assert left is None or dots.record.read_bytes() == left

    found = dots.recover()
    assert (found.jobs, found.done) == (6, 6)
    assert found.rebuilt
    assert found.moved == found.aside == found.damaged == {}
    assert words in found.was
    if left is not None:
        assert (dots.out / "batch.sqlite.damaged-1").read_bytes() == left
    assert batch.status(dots.out)["done"] == 6
    assert page.write(dots.out).is_file()
    assert dots.run().is_complete
    assert dots.files() == before
    assert dots.sent() == sent


def test_wrong_bytes_anywhere_cost_no_picture(dots: Batch) -> None:
    chance = random.Random(20_26)
    before, whole, told = dots.files(), dots.record.read_bytes(), 0
    for _ in range(24):
        content = bytearray(whole)
        for _ in range(200):
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        dots.record.write_bytes(content)
        try:
            dots.run()
        except RecordLost:
            told += 1
            assert dots.recover().done == 6
            assert dots.run().is_complete
    assert told > 12
    assert dots.files() == before
    assert set(dots.sent().values()) == {1}


def test_what_sqlite_left_beside_a_record_goes_with_it(dots: Batch) -> None:
    dots.record.unlink()
    for end in ("-wal", "-shm"):
        dots.record.with_name(f"{SQLITE}{end}").write_bytes(b"left")
    dots.recover()
    assert (dots.out / f"{SQLITE}.damaged-1-wal").read_bytes() == b"left"
    assert dots.run().is_complete
    assert set(dots.sent().values()) == {1}


def test_every_record_that_was_there_is_kept(dots: Batch) -> None:
    for number in (1, 2):
        dots.record.write_bytes(b"%d" % number)
        assert dots.recover().before == f"{SQLITE}.damaged-{number}"
    assert (dots.out / f"{SQLITE}.damaged-1").read_bytes() == b"1"
    assert (dots.out / f"{SQLITE}.damaged-2").read_bytes() == b"2"


def test_a_new_folder_and_one_with_other_pictures_begin_as_ever(
    tmp_path: Path, fake: FakeServer
) -> None:
    made = Batch(tmp_path, fake)
    made.want(["a"])
    made.out.mkdir()
    Image.new("RGB", (4, 4)).save(made.out / "mine.png")
    emptied(made.record)
    assert made.run().is_complete


# --------------------------------------------------------------------------- exchanged


@pytest.mark.parametrize("damage", [None, "deleted", "cut_off"])
def test_exchanged_pictures_get_back_their_names(dots: Batch, damage: str | None) -> None:
    before = dots.files()
    dots.exchange("a.png", "deep/d.png")
    # a circle of three
    dots.exchange("b.png", "c.png")
    dots.exchange("c.png", "deep/e.png")
    if damage:
        DAMAGES[damage][0](dots.record)
    found = dots.recover()
    assert len(found.moved) == 5
    assert found.done == 6
    assert found.aside == {}
    assert dots.files() == before
    assert dots.run().is_complete
    assert dots.files() == before
    assert set(dots.sent().values()) == {1}


def test_a_picture_that_was_renamed_gets_back_its_name(dots: Batch) -> None:
    before = dots.files()
    (dots.out / "b.png").rename(dots.out / "my favourite.png")
    (dots.out / "a.png").rename(dots.out / "b.png")
    dots.record.unlink()
    assert dots.recover().moved == {"b.png": "a.png", "my favourite.png": "b.png"}
    assert dots.run().is_complete
    assert dots.files() == before
    assert set(dots.sent().values()) == {1}


def test_pictures_of_a_job_with_several_keep_their_numbers(
    tmp_path: Path, fake: FakeServer
) -> None:
    made = Batch(tmp_path, fake)
    made.want(["x", "x-2", "y"], TWICE)
    assert made.run().is_complete
    before = made.files()
    made.exchange("x=2.png", "x-2=2.png")
    made.exchange("y.png", "x.png")
    made.record.unlink()
    assert made.recover().done == 3
    assert made.run().is_complete
    assert made.files() == before
    assert set(made.sent().values()) == {1}


def test_a_job_of_which_a_picture_is_missing_is_made_again(
    tmp_path: Path, fake: FakeServer
) -> None:
    made = Batch(tmp_path, fake)
    made.want(["x", "y"], TWICE)
    assert made.run().is_complete
    before = made.files()
    (made.out / "x=2.png").unlink()
    made.record.unlink()
    found = made.recover()
    assert found.incomplete == ("x",)
    assert made.run().is_complete
    assert made.files() == before
    assert made.sent() == {0: 2, 1: 1}


# ---------------------------------------------------------------------- other pictures


def test_pictures_that_are_not_whole_or_not_ours_are_told_and_kept(dots: Batch) -> None:
    whole = dots.files()
    a, b, c = (dots.out / f"{name}.png" for name in "abc")
    a.write_bytes(whole["a.png"][:-20])
    Image.open(b).save(b)  # Pillow leaves the graph out
    edited = b.read_bytes()
    shutil.copy(c, dots.out / "c copy.png")
    Image.new("RGB", (4, 4)).save(dots.out / "mine.png")
    dots.record.unlink()

    found = dots.recover()
    assert found.damaged.keys() == {"a.png"}
    assert found.without_graph == ("b.png", "mine.png")
    assert found.copies == ("c copy.png",)
    assert found.aside == {"a.png": "a=aside-1.png", "b.png": "b=aside-1.png"}
    assert (found.jobs, found.done) == (6, 4)
    assert dots.run().is_complete
    after = dots.files()
    assert {name: after[name] for name in whole} == whole
    assert after["a=aside-1.png"] == whole["a.png"][:-20]
    assert after["b=aside-1.png"] == edited
    assert after.keys() - whole.keys() == {
        "a=aside-1.png",
        "b=aside-1.png",
        "c copy.png",
        "mine.png",
    }
    assert dots.sent() == {0: 2, 1: 2, 2: 1, 3: 1, 4: 1, 5: 1}
    # Once more, and all of that is as it should be.
    again = dots.recover()
    assert again.is_needless
    assert dots.files() == after


def test_a_picture_of_another_job_in_the_way_of_one_is_not_replaced(dots: Batch) -> None:
    before = dots.files()
    shutil.copy(dots.out / "a.png", dots.out / "b.png")
    dots.record.unlink()
    found = dots.recover()
    assert found.copies == ("b.png",)
    assert found.aside == {"b.png": "b=aside-1.png"}
    assert dots.run().is_complete
    assert dots.files() == {**before, "b=aside-1.png": before["a.png"]}
    assert dots.sent()[1] == 2


def test_items_that_are_gone_from_the_manifest_leave_their_pictures(dots: Batch) -> None:
    before = dots.files()
    dots.want(["a", "b"])
    dots.record.unlink()
    found = dots.recover()
    assert (found.jobs, found.done) == (2, 2)
    assert len(found.strangers) == 4
    assert dots.run().is_complete
    assert dots.files() == before
    # They come back, and are counted before the run that would make them.
    dots.want(["a", "b", "c", "deep/d"])
    choice = Choice(urls=(dots.fake.url,))
    batch.plan(batch.BatchRequest(manifest=dots.manifest, out=dots.out, choice=choice))
    assert dots.recover().done == 4
    assert dots.run().is_complete
    assert dots.files() == before
    assert set(dots.sent().values()) == {1}


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_are_not_followed(dots: Batch, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (dots.out / "deep").rename(outside)
    (dots.out / "deep").symlink_to(outside)
    (dots.out / "a.png").rename(tmp_path / "a.png")
    (dots.out / "a.png").symlink_to(tmp_path / "a.png")
    before = {path: path.read_bytes() for path in (*outside.iterdir(), tmp_path / "a.png")}
    dots.record.unlink()
    found = dots.recover()
    assert found.links == ("a.png", "deep")
    assert found.done == 3
    assert {path: path.read_bytes() for path in before} == before


def test_derived_pictures_are_not_taken_for_the_batchs(tmp_path: Path, fake: FakeServer) -> None:
    made = Batch(tmp_path, fake)
    made.want(["a", "export/b"], export={"snap": True})
    made.run()
    contact.write(made.out)
    assert (made.out / "export=" / "a.png").is_file()
    made.record.unlink()
    found = made.recover()
    assert (found.looked_at, found.done) == (3, 2)
    assert found.without_graph == found.strangers == ()


def test_pictures_without_graphs_count_by_name_where_that_is_said(
    tmp_path: Path, fake: FakeServer
) -> None:
    made = Batch(tmp_path, fake)
    made.want(["a", "b"])
    assert made.run().is_complete
    for path in made.out.glob("*.png"):
        Image.open(path).save(path)
    before = made.files()
    made.record.unlink()
    assert made.recover(dry=True).done == 0
    assert made.recover(by_name=True).done == 2
    assert batch.status(made.out)["without_graph"] == 2
    assert made.run().is_complete
    assert made.files() == before
    assert set(made.sent().values()) == {1}


def test_pictures_that_have_no_name_yet_count(dots: Batch) -> None:
    before = dots.files()
    with Store.open(dots.out) as store:
        key = next(entry.job.key for entry in store.entries() if entry.job.name == "c")
    (dots.out / "c.png").rename(dots.out / ".parts" / f"{key}-0-7")
    dots.record.unlink()
    assert dots.recover().moved == {f".parts/{key}-0-7": "c.png"}
    assert dots.run().is_complete
    assert dots.files() == before
    assert set(dots.sent().values()) == {1}


# -------------------------------------------------------------------- whole, and limits


def test_a_whole_record_stays(dots: Batch) -> None:
    found = dots.recover()
    assert found.is_needless
    assert next(found.sentences())[0].endswith("is whole; there is nothing to recover")
    assert found.done == 6
    assert not list(dots.out.glob("*.damaged-*"))
    assert batch.status(dots.out)["timings"]["servers"]
    assert dots.recover(force=True).before == f"{SQLITE}.damaged-1"
    assert dots.run().is_complete
    assert set(dots.sent().values()) == {1}


def test_a_record_that_is_older_than_its_pictures_learns_of_them(dots: Batch) -> None:
    connection = sqlite3.connect(dots.record)
    connection.execute("DELETE FROM artifacts WHERE path IN ('a.png', 'b.png')")
    connection.execute("UPDATE jobs SET state = 'pending' WHERE name IN ('a', 'b')")
    connection.commit()
    connection.close()
    dots.exchange("a.png", "c.png")
    found = dots.recover()
    assert not found.rebuilt
    assert found.moved == {"a.png": "c.png", "c.png": "a.png"}
    assert found.done == 6
    assert dots.run().is_complete
    assert set(dots.sent().values()) == {1}


def test_changed_pictures_of_a_whole_record_are_kept_and_made_again(dots: Batch) -> None:
    before = dots.files()
    (dots.out / "a.png").write_bytes(before["b.png"] + b"mine")
    found = dots.recover()
    assert found.changed == ("a.png",)
    assert found.aside == {"a.png": "a=aside-1.png"}
    assert dots.run().is_complete
    assert dots.files() == {**before, "a=aside-1.png": before["b.png"] + b"mine"}


def test_a_record_in_postgresql_stays_where_it_is(
    tmp_path: Path, fake: FakeServer, postgres_url: str
) -> None:
    made = Batch(tmp_path, fake)
    made.want(["a", "b"])
    choice = Choice(urls=(fake.url,))
    request = batch.BatchRequest(
        manifest=made.manifest, out=made.out, choice=choice, store=postgres_url
    )
    assert batch.run(request, Deaf()).is_complete
    before = made.files()
    assert made.recover().is_needless
    made.exchange("a.png", "b.png")
    assert made.recover().done == 2
    assert made.files() == before
    with pytest.raises(UsageError, match="is not rebuilt there"):
        made.recover(force=True)
    # As said there: without the database the record is one in the folder.
    (made.out / "batch.store.json").unlink()
    with pytest.raises(RecordLost, match="is gone"):
        made.run()
    assert made.recover().done == 2
    assert made.run().is_complete
    assert set(made.sent().values()) == {1}


def test_dry_run_touches_nothing(dots: Batch) -> None:
    dots.exchange("a.png", "b.png")
    dots.record.unlink()
    names = {path: path.stat().st_mtime_ns for path in dots.out.rglob("*") if path.is_file()}
    found = dots.recover(dry=True)
    assert found.done == 6
    assert found.moved == {"a.png": "b.png", "b.png": "a.png"}
    after = {path: path.stat().st_mtime_ns for path in dots.out.rglob("*") if path.is_file()}
    locks = {dots.out / "batch.lock", dots.out / "batch.lock.json"}
    assert {*names.items()} ^ {*after.items()} <= {
        (p, t) for p, t in after.items() if p in locks
    } | {(p, t) for p, t in names.items() if p in locks}


def test_a_batch_that_runs_is_left_alone(dots: Batch) -> None:
    dots.record.unlink()
    with held(dots.out), pytest.raises(BatchBusy):
        dots.recover()


def test_without_the_kept_plan_manifest_and_servers_are_given(dots: Batch) -> None:
    (dots.out / KEPT).unlink()
    dots.record.unlink()
    with pytest.raises(RecordLost, match="is gone"):
        dots.run()
    with pytest.raises(UsageError, match="--manifest FILE"):
        dots.recover()
    choice = Choice(urls=(dots.fake.url,))
    assert dots.recover(manifest=dots.manifest, choice=choice).done == 6
    assert dots.run().is_complete
    assert set(dots.sent().values()) == {1}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"x", id="no gzip"),
        pytest.param(gzip.compress(b"[1]"), id="another thing"),
        pytest.param(gzip.compress(b"{}")[:9], id="cut off"),
    ],
)
def test_a_damaged_kept_plan_is_as_good_as_none(dots: Batch, content: bytes) -> None:
    (dots.out / KEPT).write_bytes(content)
    dots.record.unlink()
    with pytest.raises(UsageError, match="--manifest FILE"):
        dots.recover()


def test_a_recovery_that_is_stopped_leaves_all_as_it_was(dots: Batch) -> None:
    dots.record.write_bytes(b"mine")

    def stop(what: str, done: int, total: int) -> None:
        if what == "writing":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recover(dots.out, Wish(), stop)
    assert dots.record.read_bytes() == b"mine"
    assert not [path for path in dots.out.iterdir() if path.name.startswith(".batch.sqlite")]
    assert dots.recover().done == 6
    assert dots.run().is_complete
    assert set(dots.sent().values()) == {1}


def test_what_is_missing_is_made(dots: Batch) -> None:
    before = dots.files()
    (dots.out / "b.png").unlink()
    dots.record.unlink()
    assert dots.recover().done == 5
    assert dots.run().is_complete
    assert dots.files() == before
    assert dots.sent() == {0: 1, 1: 2, 2: 1, 3: 1, 4: 1, 5: 1}


def test_gates_judge_what_was_found(tmp_path: Path, fake: FakeServer) -> None:
    made = Batch(tmp_path, fake)
    made.want(["a", "b"], gates={"width": 8, "graph": None})
    assert made.run().is_complete
    made.record.unlink()
    assert made.recover().done == 2
    assert made.run().is_complete
    with Store.open(made.out) as store:
        assert {one.measured["width"] for one in store.artifacts()} == {8.0}
    assert set(made.sent().values()) == {1}


# ------------------------------------------------------------------------- the command


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "orchestrator", "batch", *arguments],
        env={**os.environ, **python_environment()},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def test_the_command(dots: Batch) -> None:
    dots.exchange("a.png", "b.png")
    dots.record.write_bytes(b"no database")
    told = command("status", str(dots.out))
    assert told.returncode == 1
    assert told.stderr == (
        f"error: the record of {dots.out}, batch.sqlite, is damaged (it is no SQLite database); "
        f"`spriteworks batch recover {dots.out}` rebuilds it from the pictures\n"
    )
    dry = command("recover", str(dots.out), "--dry-run", "--json")
    assert dry.returncode == 0, dry.stderr
    assert json.loads(dry.stdout)["dry"] is True
    done = command("recover", str(dots.out), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["jobs"], found["done"], found["before"]) == (6, 6, "batch.sqlite.damaged-1")
    assert found["moved"] == {"a.png": "b.png", "b.png": "a.png"}
    assert "what only the record knew is lost" in done.stderr
    again = command("recover", str(dots.out))
    assert (again.returncode, again.stdout) == (0, f"{dots.out}\n")
    assert "is whole; there is nothing to recover" in again.stderr
    assert command("recover", str(dots.out / "nowhere")).returncode == 2


# ----------------------------------------------------------------- several in one graph


@pytest.fixture
def sampled(tmp_path: Path, repository: Path) -> Iterator[Batch]:
    """A batch on a server that samples, three seeds a graph."""
    path = repository / "tests" / "data" / "comfyui" / "object_info.json"
    info = json.loads(path.read_text(encoding="utf-8"))
    info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0] = ["m.safetensors"]
    info["SpriteworksSeedBatch"] = SEED_BATCH
    with FakeServer(object_info=info) as server:
        made = Batch(tmp_path, server)
        (tmp_path / "graph.json").write_text(json.dumps(SAMPLED), encoding="utf-8")
        text = {
            "name": "dots",
            "workflow": "graph.json",
            "batch_size": 3,
            "items": [
                {"id": name, "prompt": name, "seeds": {"base": 5, "count": 6}} for name in "ab"
            ],
        }
        made.manifest.write_text(json.dumps(text), encoding="utf-8")
        yield made


SEED_BATCH = {
    "input": {
        "required": {
            "model": ["MODEL"],
            "width": ["INT", {"default": 512, "min": 16, "max": 16384}],
            "height": ["INT", {"default": 512, "min": 16, "max": 16384}],
            "seed": ["INT", {"default": 0, "min": 0, "max": 2**64 - 1}],
            "batch_size": ["INT", {"default": 8, "min": 1, "max": 4096}],
        }
    },
    "output": ["MODEL", "LATENT"],
}
SAMPLED: dict[str, Any] = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "m.safetensors"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["1", 1]}},
    "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
    "4": {
        "class_type": "KSampler",
        "inputs": {
            "model": ["1", 0],
            "positive": ["2", 0],
            "negative": ["2", 0],
            "latent_image": ["3", 0],
            "seed": 7,
            "steps": 4,
            "cfg": 5.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1.0,
        },
    },
    "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
    "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "x"}},
}


@pytest.mark.parametrize("damage", ["deleted", "of_no_version"])
def test_pictures_of_several_seeds_in_one_graph(sampled: Batch, damage: str) -> None:
    assert sampled.run().is_complete
    before, sent = sampled.files(), len(sampled.fake.submissions)
    assert (len(before), sent) == (12, 4)
    sampled.exchange("a-5.png", "b-8.png")
    DAMAGES[damage][0](sampled.record)
    found = sampled.recover()
    assert (found.jobs, found.done) == (12, 12)
    assert found.moved == {"a-5.png": "b-8.png", "b-8.png": "a-5.png"}
    assert sampled.run().is_complete
    assert sampled.files() == before
    assert len(sampled.fake.submissions) == sent


# ------------------------------------------------------------------------ a real engine

POTIONS = """
name: potions
workflow: sprite
defaults: {steps: 2}
batch_size: 2
items:
  - id: potion
    prompt: "a {colour} potion"
    vars: {colour: [red, blue]}
    seeds: {base: 100, count: 3}
"""


class Counting:
    """Counts the pictures that are made."""

    def __init__(self) -> None:
        self.made = 0

    def happened(self, kind: str, **details: Any) -> None:
        self.made += kind == "done"


@pytest.mark.slow
def test_on_the_embedded_engine(tmp_path: Path) -> None:
    manifest, out = tmp_path / "potions.yaml", tmp_path / "out"
    manifest.write_text(POTIONS, encoding="utf-8")
    request = batch.BatchRequest(manifest=manifest, out=out, choice=Choice(engines=1))
    counting = Counting()
    assert batch.run(request, counting).is_complete
    assert counting.made == 6
    before = {path.name: path.read_bytes() for path in out.glob("potion*.png")}
    assert len(before) == 6
    # The same sprite for two seeds would show nothing.
    assert len(set(before.values())) == 6
    for damage in ("deleted", "of_no_version", "cut_off"):
        first, second = out / "potion-red-100.png", out / "potion-blue-102.png"
        first.rename(out / "third.png")
        second.rename(first)
        DAMAGES[damage][0](out / SQLITE)
        found = recover(out, Wish(), lambda *told: None)
        assert (found.jobs, found.done) == (6, 6)
        assert found.moved == {
            "potion-red-100.png": "potion-blue-102.png",
            "third.png": "potion-red-100.png",
        }
        assert {path.name: path.read_bytes() for path in out.glob("potion*.png")} == before
    assert batch.run(request, counting).is_complete
    assert counting.made == 6
    assert {path.name: path.read_bytes() for path in out.glob("potion*.png")} == before
    (out / "potion-red-101.png").unlink()
    (out / SQLITE).unlink()
    assert recover(out, Wish(), lambda *told: None).done == 5
    assert batch.run(request, counting).is_complete
    assert counting.made == 7
    assert {path.name for path in out.glob("potion*.png")} == {*before}
