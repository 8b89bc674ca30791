"""The delivery of each target's last failed attempt; indexes for lists of retried deliveries and open incidents."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

RETRYING = sa.text("state = 'pending' AND attempts > 0")
OPEN = sa.text("status <> 'resolved'")


def upgrade() -> None:
    """Add the column, which is null until the next failed attempt, and the indexes."""
    op.add_column("targets", sa.Column("last_failed", sa.BigInteger))
    for name, columns in (
        ("deliveries_retrying", ["target", "id"]),
        ("deliveries_retrying_in_order", ["id", "message_id"]),
    ):
        op.create_index(name, "deliveries", columns, sqlite_where=RETRYING, postgresql_where=RETRYING)
    columns = ["status_at", "incident_id", "connection"]
    op.create_index("snapshots_open", "snapshots", columns, sqlite_where=OPEN, postgresql_where=OPEN)
