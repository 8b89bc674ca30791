"""Alembic's entry: runs the migrations on the connection that the caller opened."""

from alembic import context

from daemon.storage import schema

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
