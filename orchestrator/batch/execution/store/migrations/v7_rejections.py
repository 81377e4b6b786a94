"""Which of a job's seeds a person asked for, by rejecting the picture before it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "7"
down_revision = "6"


def upgrade() -> None:
    """Add the column."""
    op.add_column("jobs", sa.Column("asked_roll", sa.Integer, nullable=False, server_default="0"))
