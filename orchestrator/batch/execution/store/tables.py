"""The tables of a record, for SQLite and PostgreSQL.

They are made by `migrations`; what is added here is added there.

Seeds go up to 2^64-1, more than either database's integers hold, so they are text. Moments are s
since the epoch by the wall clock, for people; order comes from ids, durations from `seconds`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
)

# The number of the latest migration. A record of an earlier version is upgraded when it is opened,
# one of a later version is refused, not guessed at.
VERSION = 7

metadata = MetaData()
# SQLite numbers rows by itself only where the type is INTEGER.
ID = BigInteger().with_variant(Integer(), "sqlite")

# what is known of the batch as a whole: its name, the plan's sources, who holds it
facts = Table(
    "facts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("parameters", Text, nullable=False),
    Column("seed", String(20)),
    # minus the priority, so that one ascending index gives the order of work
    Column("rank", Integer, nullable=False),
    # place in the manifest
    Column("place", Integer, nullable=False),
    Column("group_key", String(16), nullable=False),
    Column("model", Text, nullable=False),
    Column("gates", Text, nullable=False),
    Column("rerolls", Integer, nullable=False),
    Column("roll", Integer, nullable=False),
    Column("state", String(12), nullable=False),
    # why it failed, was quarantined or cancelled
    Column("reason", Text, nullable=False),
    # numbers of the first and the latest plan that had it
    Column("first_plan", Integer, nullable=False),
    Column("plan", Integer, nullable=False),
    # whose it is: jobs of different owners take turns
    Column("owner", String(64), nullable=False, server_default=""),
    # a person wants a job no longer that a server has; never True of one that no server has
    Column("cancel", Boolean, nullable=False, server_default=false()),
    # the last of its rolls that a person asked for
    Column("asked_roll", Integer, nullable=False, server_default="0"),
    Index("jobs_by_work", "state", "owner", "rank", "place"),
    Index("jobs_by_name", "name"),
    Index("jobs_by_place", "place", "key"),
    Index("jobs_by_plan", "plan"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("prompt_id", String(36), nullable=False, unique=True),
    Column("server", Text, nullable=False),
    Column("degraded", Text, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("seconds", Float),
    # of pictures that it was to make
    Column("size", Integer, nullable=False),
    Column("outcome", String(12)),
    Column("failure", Text, nullable=False),
    Column("error", Text, nullable=False),
    # the orchestrator that may close it
    Column("owner", String(64), nullable=False, server_default=""),
    # until when nobody else may take it over, in s since the epoch by the database's clock
    Column("lease", Float),
    Index("attempts_by_outcome", "outcome"),
)

shots = Table(
    "shots",
    metadata,
    Column("attempt_id", ID, primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("key", String(64), nullable=False),
    Column("seed", String(20)),
    Index("shots_by_key", "key"),
)

artifacts = Table(
    "artifacts",
    metadata,
    # inside the batch folder, with "/"; a newer picture at the same place takes over the row
    Column("path", Text, primary_key=True),
    Column("key", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("pixels_sha256", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("seed", String(20)),
    Column("attempt_id", ID),
    Column("measured", Text, nullable=False),
    # the gates that it was judged by, as in `jobs`
    Column("gates", Text, nullable=False),
    Index("artifacts_by_key", "key"),
    Index("artifacts_by_pixels", "pixels_sha256"),
)

timings = Table(
    "timings",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("attempt_id", ID, nullable=False),
    Column("span", Text, nullable=False),
    Column("node_class", Text, nullable=False),
    Column("seconds", Float, nullable=False),
    Index("timings_by_attempt", "attempt_id"),
)

events = Table(
    "events",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    # True for what a person should look at
    Column("warning", Boolean, nullable=False),
    Column("server", Text, nullable=False),
    Column("key", String(64), nullable=False),
    Column("text", Text, nullable=False),
)
