"""A real PostgreSQL and a real Redis for tests of many processes on one record."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import real_postgres
from real_postgres import PostgresServer, postgres_server, postgres_url
from real_redis import redis_server

__all__ = ["postgres_server", "postgres_url", "redis_server"]


@pytest.fixture(scope="session")
def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A PostgreSQL that tests may restart at once; each leaves it running."""
    programs = real_postgres.needed()
    server = PostgresServer(tmp_path_factory.mktemp("postgres"), programs)
    try:
        server.create()
        yield server
    finally:
        server.stop()
        server.remove()
