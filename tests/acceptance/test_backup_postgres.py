"""A backup of a service whose record is in PostgreSQL, on a real server; see conftest.py."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.local.process import python_environment
from orchestrator.testing import FakeServer
from service_world import graph, serving

psycopg = pytest.importorskip("psycopg", reason="pip install -e '.[postgresql]'")
pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("pg_dump", "pg_restore", "psql"))),
    reason="no pg_dump, pg_restore and psql: install PostgreSQL's client programs",
)


def spriteworks(*arguments: str | Path, database: str = "") -> subprocess.CompletedProcess[str]:
    named = {"SPRITEWORKS_DATABASE": database} if database else {}
    return subprocess.run(
        [sys.executable, "-m", "orchestrator", *map(str, arguments)],
        env={"PATH": "/usr/bin:/bin", **python_environment(), **named},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def other_url(postgres_server: str) -> Iterator[str]:
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield f"{postgres_server}/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_service_moves_to_another_database(
    tmp_path: Path, postgres_url: str, other_url: str
) -> None:
    backup = tmp_path / "backup"
    with FakeServer() as fake:
        with serving(tmp_path / "old", [fake.url], store=postgres_url) as world:
            jobs = [world.ended(world.post(graph(color=n)).json()["id"]) for n in range(3)]
            # while it runs
            done = spriteworks("backup", backup, "--data", tmp_path / "old", "--json")
            assert done.returncode == 0, done.stderr
            # and the file by which workers know that a storage is the service's
            assert json.loads(done.stdout)["files"] == 3 + 1
            # what comes later is not in it
            world.ended(world.post(graph(color=9)).json()["id"])
        new = tmp_path / "new"
        done = spriteworks("restore", backup, "--data", new, database=other_url)
        assert done.returncode == 0, done.stderr
        with serving(new, [fake.url]) as world:
            assert len(world.call("GET", "/api/v2/jobs").json()["jobs"]) == 3
            for job in jobs:
                output = world.job(job["id"])["outputs"][0]
                assert output["id"] == job["outputs"][0]["id"]
                assert world.call("GET", f"/api/v2/assets/{output['id']}/content").ok
            # the service is connected
            refused = spriteworks("restore", backup, "--data", new, "--force")
            assert refused.returncode != 0
            assert "at work" in refused.stderr
        done = spriteworks("restore", backup, "--data", new)
        assert "--force" in done.stderr
        with psycopg.connect(other_url):
            refused = spriteworks("restore", backup, "--data", new, "--force")
            assert "1 others are connected to" in refused.stderr
        assert spriteworks("restore", backup, "--data", new, "--force").returncode == 0


def test_what_fails_half_way_changes_nothing(tmp_path: Path, postgres_url: str) -> None:
    folder, backup = tmp_path / "service", tmp_path / "backup"
    with FakeServer() as fake, serving(folder, [fake.url], store=postgres_url) as world:
        world.ended(world.post(graph()).json()["id"])
    assert spriteworks("backup", backup, "--data", folder).returncode == 0
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        # what is in the way of the backup's table of that name, and is none of ours
        connection.execute("CREATE TABLE mine (key text REFERENCES jobs (key))")
        connection.execute("ALTER TABLE jobs RENAME TO jobs_of_mine")
        connection.execute("CREATE VIEW jobs AS SELECT 1")
    done = spriteworks("restore", backup, "--data", folder, "--force")
    assert done.returncode == 1
    assert "psql failed" in done.stderr
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM jobs_of_mine").fetchone() == (1,)
        made = "SELECT count(*) FROM assets WHERE job_id IS NOT NULL"
        assert connection.execute(made).fetchone() == (1,)


def test_a_password_is_on_no_command_line(tmp_path: Path, postgres_url: str) -> None:
    """Everybody may read the arguments of processes."""
    folder = tmp_path / "service"
    with FakeServer() as fake, serving(folder, [fake.url], store=postgres_url):
        pass
    pointer = folder / "batch.store.json"
    found = json.loads(pointer.read_text())
    address = found["url"].replace("//sprite@", "//sprite:geheim@")
    pointer.write_text(json.dumps({**found, "url": address}))
    programs = tmp_path / "bin"
    programs.mkdir()
    spy = programs / "pg_dump"
    seen = tmp_path / "seen"
    real = shutil.which("pg_dump")
    spy.write_text(
        f'#!/bin/sh\necho "$@" > {seen}\necho "$PGPASSWORD" >> {seen}\nexec {real} "$@"\n'
    )
    spy.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "backup", tmp_path / "b.tar", "--data", folder],
        env={"PATH": f"{programs}:/usr/bin:/bin", **python_environment()},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    arguments, password = seen.read_text().splitlines()
    assert "geheim" not in arguments
    assert password == "geheim"
    assert "geheim" not in done.stdout + done.stderr
