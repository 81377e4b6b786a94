"""The tables of requests, beside those of the batch's record."""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, Integer, String, Table, Text

from ..batch.store.database import Database
from ..batch.store.tables import metadata

# One row for each row of `jobs` that a request made; `id` is its key.
requests = Table(
    "requests",
    metadata,
    Column("id", String(64), primary_key=True),
    # the id of the API key that posted it; "" without one
    Column("owner", String(64), nullable=False),
    # as in `jobs`, so that a page of requests is read from one index
    Column("place", Integer, nullable=False),
    # the graph as it was posted, references to assets included
    Column("graph", Text, nullable=False),
    # what pictures shall carry besides the graph, as JSON
    Column("extra", Text, nullable=False),
    # what the face that took it tells again, and what people should know, as JSON
    Column("notes", Text, nullable=False),
    Column("warnings", Text, nullable=False),
    # of the graph
    Column("nodes", Integer, nullable=False),
    # s since the epoch by the wall clock
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("expires_at", Float, nullable=False),
    # why it failed, as JSON; "" where it did not
    Column("error", Text, nullable=False),
    Index("requests_by_place", "owner", "place"),
    Index("requests_by_expiry", "expires_at"),
)

labels = Table(
    "labels",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("value", String(512), nullable=False),
    Index("labels_by_value", "name", "value"),
)

# Idempotency keys: which request a key stands for, and the hash of the body that it came with.
idempotency = Table(
    "idempotency",
    metadata,
    Column("owner", String(64), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("request", String(64), nullable=False),
    Column("made_at", Float, nullable=False),
    Index("idempotency_by_age", "made_at"),
)

TABLES = (requests, labels, idempotency)


def create(database: Database) -> None:
    """Make the tables that are missing."""
    with database.transaction() as connection:
        metadata.create_all(connection, tables=TABLES)
