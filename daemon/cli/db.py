"""The commands ``db upgrade`` and ``db prune``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from daemon.cli import options

if TYPE_CHECKING:
    import sqlalchemy as sa

app = typer.Typer(help="Upgrade and prune the database.", **options.PLAIN)


@app.command()
def upgrade(ctx: typer.Context, *, config: options.Config = None) -> None:
    """Upgrade the database to this version's schema.

    The daemon does this itself when it starts.
    """
    settings = options.load(ctx, config)
    from daemon.storage.database import Database

    database = Database(settings.database.url.get_secret_value())
    try:
        before = database.version()
        after = database.upgrade()
    finally:
        database.close()
    if before == after:
        print(f"the database already has schema {after}")
    else:
        print(f"upgraded the database from {f'schema {before}' if before else 'no schema'} to schema {after}")


@app.command()
def prune(ctx: typer.Context, *, config: options.Config = None) -> None:
    """Delete rows that are older than the configured retention.

    A running daemon does this itself, every ten minutes.
    """
    settings = options.load(ctx, config)
    from daemon import maintenance
    from daemon.cli.database import opened

    removed = 0
    with opened(settings) as database:
        known = set(database.read_now(_connections))
        connections = [name for name in settings.connections if name in known]
        arguments = database, settings.database.retention, connections, settings.triggers
        # In parts, so that a running daemon never waits long for one of them.
        while part := database.write_now(maintenance.prune, *arguments):
            removed += part
    print(f"{removed:,} row{'' if removed == 1 else 's'} removed")


def _connections(tx: sa.Connection) -> list[str]:
    """Return the connections that a daemon has ever worked with."""
    import sqlalchemy as sa

    from daemon.storage import schema

    return list(tx.execute(sa.select(schema.connections.c.name)).scalars())
