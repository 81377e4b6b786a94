"""Attempts have an owner and a lease, jobs an owner and a wish to be cancelled."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """Add the columns; who waits is now found owner by owner."""
    for table in ("jobs", "attempts"):
        owner = sa.Column("owner", sa.String(64), nullable=False, server_default="")
        op.add_column(table, owner)
    cancel = sa.Column("cancel", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("jobs", cancel)
    op.add_column("attempts", sa.Column("lease", sa.Float))
    op.drop_index("jobs_by_work", "jobs")
    op.create_index("jobs_by_work", "jobs", ["state", "owner", "rank", "place"])
