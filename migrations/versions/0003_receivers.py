"""Messages of other kinds, replays, and how targets are held."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

INSTANT = sa.BigInteger().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")
COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LIVE = sa.text("state = 'pending' AND claimed_by IS NULL AND replay IS NULL")
REPLAYED = sa.text("state = 'pending' AND claimed_by IS NULL AND replay IS NOT NULL")
OF_REPLAY = sa.text("replay IS NOT NULL")


def upgrade() -> None:
    """Add what messages, deliveries, targets and connections are to say; create the tables of batches and replays."""
    op.add_column("messages", sa.Column("type", sa.Text))
    op.add_column("messages", sa.Column("alert", sa.Text))
    op.create_table(
        "batched",
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("event_seq", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("message_id", "event_seq"),
    )
    op.create_index("batched_by_event", "batched", ["event_seq"])

    op.add_column("targets", sa.Column("paused_reason", sa.Text))
    op.add_column("targets", sa.Column("probe_at", INSTANT))
    op.add_column("targets", sa.Column("probes", sa.Integer, nullable=False, server_default="0"))
    op.add_column("targets", sa.Column("alerted_at", INSTANT))
    op.add_column("connections", sa.Column("alerted_at", INSTANT))

    op.add_column("deliveries", sa.Column("replay", sa.BigInteger))
    op.add_column("deliveries", sa.Column("renewed_at", INSTANT))
    op.add_column("deliveries", sa.Column("state_before", sa.Text))
    op.drop_index("deliveries_due", "deliveries")
    due = ["target", "next_attempt_at", "id"]
    op.create_index("deliveries_due", "deliveries", due, sqlite_where=LIVE, postgresql_where=LIVE)
    op.create_index("deliveries_replay_due", "deliveries", due, sqlite_where=REPLAYED, postgresql_where=REPLAYED)
    op.create_index(
        "deliveries_by_replay", "deliveries", ["replay", "state"], sqlite_where=OF_REPLAY, postgresql_where=OF_REPLAY
    )
    op.create_table(
        "replays",
        sa.Column("id", COUNTER, nullable=False),
        sa.Column("trigger", sa.Text),
        sa.Column("target", sa.Text),
        sa.Column("since", INSTANT, nullable=False),
        sa.Column("until", INSTANT, nullable=False),
        sa.Column("delivery_state", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("positions", sa.Text, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("taken", sa.BigInteger, nullable=False),
        sa.Column("delivered", sa.BigInteger),
        sa.Column("dead", sa.BigInteger),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("finished_at", INSTANT),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
