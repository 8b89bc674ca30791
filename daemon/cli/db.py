"""The commands ``db upgrade``, ``db prune``, ``db backup`` and ``db restore``."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli import options, progress, terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa

    from daemon.settings import Settings
    from daemon.storage.database import Database

File = Annotated[Path, typer.Argument(metavar="FILE", help="The file of the backup.", show_default=False)]

app = typer.Typer(help="Upgrade, prune, back up and restore the database.", **options.PLAIN)


@app.command()
def upgrade(ctx: typer.Context, *, config: options.Config = None) -> None:
    """Upgrade the database to this version's schema.

    The daemon does this itself when it starts.
    """
    settings = options.load(ctx, config)
    from daemon.storage.database import HEAD, Database

    database = Database(settings.database.url.get_secret_value())
    try:
        before = database.version()
        with progress.shown("upgrading the schema", int(HEAD), begun=int(before or 0)) as update:
            after = database.upgrade(lambda revision: update(int(revision)))
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
        expired, events = database.read_now(maintenance.count_expired, database, settings.database.retention)
        if expired or events:
            terminal.note(_words(expired, events))
        with progress.shown("rows removed") as update:
            # In parts, so that a running daemon never waits long for one of them.
            while part := database.write_now(maintenance.prune, *arguments):
                removed += part
                update(removed)
    print(f"{removed:,} row{'' if removed == 1 else 's'} removed")


def _words(expired: int, events: int) -> str:
    """Return how much there is to remove."""
    counts = f"{expired:,} deliver{'y' if expired == 1 else 'ies'}, {events:,} event{'' if events == 1 else 's'}"
    return f"older than their retention: {counts}, and what belongs to them"


@app.command()
def backup(ctx: typer.Context, file: File, *, config: options.Config = None) -> None:
    """Copy the SQLite database into a new file, even while a daemon runs.

    The copy is consistent and checked. Only you can read it. With PostgreSQL, use pg_dump.
    """
    settings = options.load(ctx, config)
    from daemon.storage import backup as backups

    with _sqlite(settings, f"pg_dump --format custom --file {file} DATABASE") as database:
        revision = backups.save(Path(database.url.database or ""), file)
    print(f"saved the database with schema {revision} in {file} ({file.stat().st_size:,} bytes)")


@app.command()
def restore(ctx: typer.Context, file: File, *, config: options.Config = None) -> None:
    """Replace the SQLite database by a backup, while no daemon runs.

    The backup is checked first. The current database is kept beside the restored one. With PostgreSQL, use pg_restore.
    """
    settings = options.load(ctx, config)
    from daemon import errors
    from daemon.storage import backup as backups

    with _sqlite(settings, f"pg_restore --clean --if-exists --dbname DATABASE {file}") as database:
        path = Path(database.url.database or "")
        previous = path.with_name(f"{path.name}.before-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
        try:
            database.lock()
        except errors.DatabaseInUse as error:
            raise errors.DatabaseInUse(f"{path} is in use by a running daemon (stop it first, then restore)") from error
        revision = backups.restore(file, path, previous)
    print(f"restored {path} with schema {revision} from {file}")
    if previous.exists():
        print(f"the previous database is {previous}; remove it when you no longer need it")


@contextlib.contextmanager
def _sqlite(settings: Settings, instead: str) -> Iterator[Database]:
    """Open the database, which must be a SQLite file; for PostgreSQL, an error names the command to use instead."""
    from daemon import errors
    from daemon.storage.database import Database

    database = Database(settings.database.url.get_secret_value())
    try:
        if not database.is_sqlite:
            raise errors.UsageError(f"the database is PostgreSQL, which has its own command for this: {instead}")
        yield database
    finally:
        database.close()


def _connections(tx: sa.Connection) -> list[str]:
    """Return the connections that a daemon has ever worked with."""
    import sqlalchemy as sa

    from daemon.storage import schema

    return list(tx.execute(sa.select(schema.connections.c.name)).scalars())
