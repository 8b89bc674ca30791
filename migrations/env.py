"""Alembic's entry: runs the migrations on the connection that the caller opened."""

from collections.abc import Collection, Mapping

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo

from daemon.storage import schema

attributes = context.config.attributes


def report(ctx: MigrationContext, step: MigrationInfo, heads: Collection[str], run_args: Mapping[str, object]) -> None:
    """Tell the caller which revision the schema has now."""
    del ctx, heads, run_args
    if "report" in attributes:
        attributes["report"](step.up_revision_id)


context.configure(
    connection=attributes["connection"],
    target_metadata=schema.metadata,
    transactional_ddl=True,
    on_version_apply=report,
)
with context.begin_transaction():
    context.run_migrations()
