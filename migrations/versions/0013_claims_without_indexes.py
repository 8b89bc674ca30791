"""Claims that change no index on PostgreSQL: none names ``claimed_by``, and pages have room for the changed rows."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

DUE = ["target", "next_attempt_at", "id"]
CONDITIONS = {
    "deliveries_due": "state = 'pending' AND replay IS NULL",
    "deliveries_replay_due": "state = 'pending' AND replay IS NOT NULL",
}


def upgrade() -> None:
    """Build the two indexes anew; pages that are full already stay so. On SQLite nothing changes."""
    if op.get_context().dialect.name != "postgresql":
        return
    op.execute("ALTER TABLE deliveries SET (fillfactor = 40)")
    for name, condition in CONDITIONS.items():
        op.drop_index(name, "deliveries")
        op.create_index(name, "deliveries", DUE, postgresql_where=sa.text(condition))
