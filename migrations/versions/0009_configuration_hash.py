"""Instances: the hash of the configuration that each daemon runs with."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the column. A daemon of an older version has no hash and is not compared."""
    op.add_column("instances", sa.Column("config_hash", sa.Text))
