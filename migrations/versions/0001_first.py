"""The first schema."""

from alembic import op

from daemon import schema

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table."""
    schema.metadata.create_all(op.get_bind())
