"""Counts by time, for charts."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

INSTANT = sa.BigInteger().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")
BOUNDS = (10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000)


def upgrade() -> None:
    """Create the tables. They fill from now on."""
    op.create_table(
        "target_history",
        sa.Column("target", sa.Text, primary_key=True),
        sa.Column("at", INSTANT, primary_key=True),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.BigInteger, nullable=False),
        *(sa.Column(f"within_{bound}", sa.BigInteger, nullable=False) for bound in BOUNDS),
    )
    op.create_index("target_history_by_time", "target_history", ["at"])
    op.create_table(
        "connection_history",
        sa.Column("connection", sa.Text, primary_key=True),
        sa.Column("at", INSTANT, primary_key=True),
        sa.Column("events", sa.BigInteger, nullable=False),
        sa.Column("calls", sa.BigInteger, nullable=False),
    )
    op.create_index("connection_history_by_time", "connection_history", ["at"])
    op.create_table(
        "history_positions",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("counted_to", sa.BigInteger, nullable=False),
        sa.Column("seen_to", sa.BigInteger, nullable=False),
    )
