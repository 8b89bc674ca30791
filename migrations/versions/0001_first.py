"""The first schema, spelt out: what the code's own tables become later changes nothing here."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

INSTANT = sa.BigInteger().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")
COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
PENDING = sa.text("state = 'pending'")
FREE = sa.text("state = 'pending' AND claimed_by IS NULL")
DEAD = sa.text("state = 'dead'")


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "attempts",
        sa.Column("id", COUNTER, nullable=False),
        sa.Column("delivery_id", sa.BigInteger, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("duration_ms", sa.Integer, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("error", sa.Text),
        sa.Column("answer", sa.Text),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("attempts_by_delivery", "attempts", ["delivery_id"])
    op.create_table(
        "connections",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("baseline_at", INSTANT),
        sa.Column("watermark", INSTANT),
        sa.Column("next_poll_at", INSTANT, nullable=False),
        sa.Column("polled_by", sa.Text),
        sa.Column("last_poll_at", INSTANT),
        sa.Column("last_success_at", INSTANT),
        sa.Column("failing_since", INSTANT),
        sa.Column("last_error", sa.Text),
        sa.Column("next_sweep_at", INSTANT, nullable=False),
        sa.Column("next_reconcile_at", INSTANT, nullable=False),
        sa.Column("blocked_until", INSTANT),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", COUNTER, nullable=False),
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("incident_id", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("next_attempt_at", INSTANT, nullable=False),
        sa.Column("claimed_by", sa.Text),
        sa.Column("finished_at", INSTANT),
        sa.Column("last_status", sa.Integer),
        sa.Column("last_error", sa.Text),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("message_id", "target", name="deliveries_once_per_target"),
        sqlite_autoincrement=True,
    )
    op.create_index("deliveries_by_state", "deliveries", ["state", "finished_at"])
    op.create_index("deliveries_dead", "deliveries", ["target", "id"], sqlite_where=DEAD, postgresql_where=DEAD)
    op.create_index(
        "deliveries_due", "deliveries", ["target", "next_attempt_at", "id"], sqlite_where=FREE, postgresql_where=FREE
    )
    op.create_index(
        "deliveries_in_order",
        "deliveries",
        ["target", "incident_id", "id"],
        sqlite_where=PENDING,
        postgresql_where=PENDING,
    )
    op.create_table(
        "events",
        sa.Column("seq", COUNTER, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("connection", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("incident_id", sa.Text, nullable=False),
        sa.Column("occurred_at", INSTANT, nullable=False),
        sa.Column("detected_at", INSTANT, nullable=False),
        sa.Column("detected_by", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("events_by_connection", "events", ["connection", "seq"])
    op.create_index("events_by_incident", "events", ["incident_id", "seq"])
    op.create_index("events_by_time", "events", ["detected_at"])
    op.create_table(
        "instances",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("hostname", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("heartbeat_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "messages",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("event_seq", sa.BigInteger, nullable=False),
        sa.Column("trigger", sa.Text, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("messages_by_event", "messages", ["event_seq"])
    op.create_table(
        "permit_waits",
        sa.Column("connection", sa.Text, nullable=False),
        sa.Column("priority", sa.SmallInteger, nullable=False),
        sa.Column("instance", sa.Text, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("connection", "priority", "instance"),
    )
    op.create_table(
        "permits",
        sa.Column("id", COUNTER, nullable=False),
        sa.Column("connection", sa.Text, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("priority", sa.SmallInteger, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("permits_by_time", "permits", ["connection", "at"])
    op.create_table(
        "quarantine",
        sa.Column("id", COUNTER, nullable=False),
        sa.Column("connection", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("found_at", INSTANT, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("raw", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("connection", "digest", name="quarantine_once"),
    )
    op.create_table(
        "seen_entries",
        sa.Column("connection", sa.Text, nullable=False),
        sa.Column("entry_id", sa.Text, nullable=False),
        sa.Column("seen_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("connection", "entry_id"),
    )
    op.create_index("seen_entries_by_time", "seen_entries", ["seen_at"])
    op.create_table(
        "snapshots",
        sa.Column("connection", sa.Text, nullable=False),
        sa.Column("incident_id", sa.Text, nullable=False),
        sa.Column("created", sa.Boolean, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("status_at", INSTANT, nullable=False),
        sa.Column("assigned", sa.Text, nullable=False),
        sa.Column("incident", sa.Text, nullable=False),
        sa.Column("announced", sa.Text, nullable=False),
        sa.Column("read_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("connection", "incident_id"),
    )
    op.create_index("snapshots_by_status", "snapshots", ["connection", "status", "status_at"])
    op.create_table(
        "targets",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("paused_at", INSTANT),
        sa.Column("failing_since", INSTANT),
        sa.Column("last_success_at", INSTANT),
        sa.Column("last_error", sa.Text),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "triggers",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("connection", sa.Text, nullable=False),
        sa.Column("watermark", sa.BigInteger, nullable=False),
        sa.Column("next_poll_at", INSTANT, nullable=False),
        sa.Column("last_run_at", INSTANT),
        sa.Column("last_event_at", INSTANT),
        sa.Column("last_error", sa.Text),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "users",
        sa.Column("connection", sa.Text, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("looked_up_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("connection", "email"),
    )
