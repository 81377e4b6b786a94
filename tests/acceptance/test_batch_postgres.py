"""The record of a batch in PostgreSQL: a real server of our own, or the one of an address.

SPRITEWORKS_TEST_POSTGRES names an empty database that may be filled; without it a server is started
from the PostgreSQL that is installed, on a free port, and thrown away.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from orchestrator.batch import production as batch
from orchestrator.batch.jobs import Job, State
from orchestrator.batch.report import page
from orchestrator.batch.store.store import Store
from orchestrator.errors import IllegalTransition, StoreError
from orchestrator.local.process import free_port, python_environment
from orchestrator.local.serving import Choice
from orchestrator.testing import FakeServer, Fault

psycopg = pytest.importorskip("psycopg", reason="pip install 'spriteworks[postgresql]'")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="starts its server as another user")

GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}


def programs() -> Path | None:
    """The folder of initdb and pg_ctl; Debian keeps them out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    program = found[-1] if found else shutil.which("initdb")
    return Path(program).resolve().parent if program else None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server's address without a database."""
    named = os.environ.get("SPRITEWORKS_TEST_POSTGRES")
    if named:
        yield named.rpartition("/")[0]
        return
    folder = programs()
    if folder is None:
        pytest.skip("no PostgreSQL: install it, or set SPRITEWORKS_TEST_POSTGRES")
    # It refuses to run as root.
    user = _other_user() if os.getuid() == 0 else None
    data = Path("/tmp" if user else tmp_path_factory.mktemp("postgres")) / f"pg-{uuid.uuid4().hex}"
    port = free_port()

    def call(*arguments: str) -> None:
        subprocess.run(
            [str(folder / arguments[0]), *arguments[1:]],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            user=user,
        )

    try:
        call("initdb", "-D", str(data), "-U", "sprite", "-A", "trust", "--no-sync", "-E", "UTF8")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={data}"
        call("pg_ctl", "-D", str(data), "-w", "-o", options, "-l", str(data / "log"), "start")
        try:
            yield f"postgresql://sprite@127.0.0.1:{port}"
        finally:
            call("pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(data, ignore_errors=True)


def _other_user() -> str:
    import pwd

    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


@pytest.fixture
def url(server: str) -> Iterator[str]:
    """A database of its own for each test."""
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield f"{server}/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


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
    request = batch.Request(manifest=manifest(tmp_path, 30), out=out, choice=choice, store=url)
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
