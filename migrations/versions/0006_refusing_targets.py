"""Targets that reject every message: since when."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

INSTANT = sa.BigInteger().with_variant(sa.TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    """Add the column. What was rejected before is not counted."""
    op.add_column("targets", sa.Column("refusing_since", INSTANT))
