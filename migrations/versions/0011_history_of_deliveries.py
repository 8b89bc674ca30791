"""Pending and dead deliveries by time, for charts; indexes for the lists of dead deliveries and of a trigger's."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

DEAD = sa.text("state = 'dead'")


def upgrade() -> None:
    """Add the columns, which fill from now on, and the indexes."""
    for name in ("pending", "dead"):
        op.add_column("target_history", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    op.create_index("messages_by_trigger", "messages", ["trigger", "id"])
    op.create_index(
        "deliveries_dead_in_order", "deliveries", ["id", "message_id"], sqlite_where=DEAD, postgresql_where=DEAD
    )
