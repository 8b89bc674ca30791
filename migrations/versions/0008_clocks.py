"""Daemons: how far their clocks are ahead of PagerDuty's."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the column; the next poll fills it."""
    op.add_column("instances", sa.Column("clock_ahead_seconds", sa.BigInteger))
