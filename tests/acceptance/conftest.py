"""A real PostgreSQL for the acceptance tests: one of our own, or the one of an address.

SPRITEWORKS_TEST_POSTGRES names an empty database that may be filled; without it a server is started
from the PostgreSQL that is installed, on a free port, and thrown away.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.local.process import free_port


def programs() -> Path | None:
    """The folder of initdb and pg_ctl; Debian keeps them out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    program = found[-1] if found else shutil.which("initdb")
    return Path(program).resolve().parent if program else None


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server's address without a database."""
    pytest.importorskip("psycopg", reason="pip install 'spriteworks[postgresql]'")
    if os.name == "nt":
        pytest.skip("starts its server as another user")
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
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The address of a database of its own for each test."""
    import psycopg

    server = postgres_server
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield f"{server}/{name}"
    # A test may have started the server anew.
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
