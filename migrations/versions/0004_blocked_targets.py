"""Targets: the pause that a target asked for, apart from the time of its next probe."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

INSTANT = sa.BigInteger().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")
# Until now ``probe_at`` was also the end of a requested pause. If the target was not failing, it was nothing else.
# If it was failing, the next probe, or the lease of a running one, was at most 75 seconds away; later was a pause.
REQUESTED = {
    "postgresql": "failing_since IS NULL OR probe_at > now() + interval '75 seconds'",
    "sqlite": "failing_since IS NULL OR probe_at > (CAST(strftime('%s', 'now') AS INTEGER) + 75) * 1000000",
}


def upgrade() -> None:
    """Add ``blocked_until`` and move the pauses there. A failing target's next probe stays at the end of its pause."""
    op.add_column("targets", sa.Column("blocked_until", INSTANT))
    requested = REQUESTED[op.get_bind().dialect.name]
    op.execute(f"UPDATE targets SET blocked_until = probe_at WHERE {requested}")  # noqa: S608 - one of two constants
    op.execute("UPDATE targets SET probe_at = NULL WHERE failing_since IS NULL")
