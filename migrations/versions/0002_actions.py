"""Actions, and messages that tell of them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

INSTANT = sa.BigInteger().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")
COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
OF_ACTION = sa.text("action_id IS NOT NULL")
UNFINISHED = sa.text("state = 'queued' OR state = 'running'")


def upgrade() -> None:
    """Create the table of actions; let messages name one."""
    op.add_column("messages", sa.Column("action_id", sa.Text))
    op.create_index(
        "messages_by_action",
        "messages",
        ["action_id"],
        sqlite_where=OF_ACTION,
        postgresql_where=OF_ACTION,
    )
    op.create_table(
        "actions",
        sa.Column("seq", COUNTER, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("connection", sa.Text, nullable=False),
        sa.Column("parameters", sa.Text, nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("subject", sa.Text),
        sa.Column("together", sa.Text),
        sa.Column("notify", sa.Text, nullable=False),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("claimed_by", sa.Text),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("next_try_at", INSTANT, nullable=False),
        sa.Column("started_at", INSTANT),
        sa.Column("written_at", INSTANT),
        sa.Column("trace", sa.Text),
        sa.Column("outcome", sa.Text),
        sa.Column("result", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("finished_at", INSTANT),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("idempotency_key"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "actions_waiting",
        "actions",
        ["connection", "seq"],
        sqlite_where=UNFINISHED,
        postgresql_where=UNFINISHED,
    )
    op.create_index("actions_of_subject", "actions", ["connection", "subject", "seq"])
    op.create_index("actions_finished", "actions", ["finished_at"])
