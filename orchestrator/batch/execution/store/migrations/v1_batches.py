"""The record of a batch, as of version 0.1.0."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "facts",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    _jobs()
    _attempts()
    _artifacts()
    op.create_table(
        "timings",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("attempt_id", _ID, nullable=False),
        sa.Column("span", sa.Text, nullable=False),
        sa.Column("node_class", sa.Text, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
    )
    op.create_index("timings_by_attempt", "timings", ["attempt_id"])
    op.create_table(
        "events",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("warning", sa.Boolean, nullable=False),
        sa.Column("server", sa.Text, nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("item_id", sa.Text, nullable=False),
        sa.Column("parameters", sa.Text, nullable=False),
        sa.Column("seed", sa.String(20)),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("group_key", sa.String(16), nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("gates", sa.Text, nullable=False),
        sa.Column("rerolls", sa.Integer, nullable=False),
        sa.Column("roll", sa.Integer, nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("first_plan", sa.Integer, nullable=False),
        sa.Column("plan", sa.Integer, nullable=False),
    )
    op.create_index("jobs_by_work", "jobs", ["state", "rank", "place"])
    op.create_index("jobs_by_name", "jobs", ["name"])
    op.create_index("jobs_by_place", "jobs", ["place", "key"])
    op.create_index("jobs_by_plan", "jobs", ["plan"])


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("prompt_id", sa.String(36), nullable=False, unique=True),
        sa.Column("server", sa.Text, nullable=False),
        sa.Column("degraded", sa.Text, nullable=False),
        sa.Column("started_at", sa.Float, nullable=False),
        sa.Column("ended_at", sa.Float),
        sa.Column("seconds", sa.Float),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("outcome", sa.String(12)),
        sa.Column("failure", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
    )
    op.create_index("attempts_by_outcome", "attempts", ["outcome"])
    op.create_table(
        "shots",
        sa.Column("attempt_id", _ID, primary_key=True),
        sa.Column("place", sa.Integer, primary_key=True),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("seed", sa.String(20)),
    )
    op.create_index("shots_by_key", "shots", ["key"])


def _artifacts() -> None:
    op.create_table(
        "artifacts",
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("pixels_sha256", sa.String(64), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("mtime_ns", sa.BigInteger, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("seed", sa.String(20)),
        sa.Column("attempt_id", _ID),
        sa.Column("measured", sa.Text, nullable=False),
        sa.Column("gates", sa.Text, nullable=False),
    )
    op.create_index("artifacts_by_key", "artifacts", ["key"])
    op.create_index("artifacts_by_pixels", "artifacts", ["pixels_sha256"])
