"""What people do on the service's page: sessions and marks. Empty in the record of a batch."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "5"
down_revision = "4"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "sessions",
        sa.Column("token_sha256", sa.String(64), primary_key=True),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
    )
    op.create_index("sessions_by_expiry", "sessions", ["expires_at"])
    op.create_table(
        "marks",
        sa.Column("asset", sa.String(36), primary_key=True),
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("verdict", sa.String(8), nullable=False),
        sa.Column("marked_at", sa.Float, nullable=False),
    )
    op.create_index("marks_by_job", "marks", ["job_id", "verdict"])
    op.create_index("marks_by_owner", "marks", ["owner", "verdict", "marked_at"])
