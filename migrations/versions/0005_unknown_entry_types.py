"""Types of log entries that pagerelay does not know, counted."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

INSTANT = sa.BigInteger().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    """Create the table. What was read before is not counted."""
    op.create_table(
        "unknown_entry_types",
        sa.Column("connection", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("entries", sa.BigInteger, nullable=False),
        sa.Column("first_seen_at", INSTANT, nullable=False),
        sa.Column("last_seen_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("connection", "type"),
    )
