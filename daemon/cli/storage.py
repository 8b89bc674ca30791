"""Commands around the database: opening the one that is there, upgrading, pruning."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import sqlalchemy as sa

from daemon import errors, maintenance
from daemon.storage import schema
from daemon.storage.database import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from daemon.settings import Settings

P = TypeVar("P")


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """The daemon's database, which must be there and have this version's schema."""
    database = Database(settings.database.url.get_secret_value())
    try:
        if database.is_sqlite and not Path(database.url.database or "").exists():
            message = f"there is no database {database.url.database} yet (start the daemon: pagerelay run)"
            raise errors.DatabaseError(message)
        database.check()
        yield database
    finally:
        database.close()


def latest(
    settings: Settings, view: Callable[..., P], *, limit: int, after: str | None, **filters: str | None
) -> tuple[P, datetime]:
    """A list's newest page, or the one after a cursor, and the database's time."""
    with opened(settings) as database:

        def look(tx: sa.Connection) -> tuple[P, datetime]:
            return view(tx, **filters, limit=limit, after=after, last=after is None), database.now(tx)

        return database.read_now(look)


def upgrade(settings: Settings) -> None:
    """Bring the schema to this version's, and say what was done."""
    database = Database(settings.database.url.get_secret_value())
    try:
        before = database.version()
        after = database.upgrade()
    finally:
        database.close()
    if before == after:
        print(f"the database has schema {after} already")
    else:
        print(f"the database went from {f'schema {before}' if before else 'no schema'} to schema {after}")


def prune(settings: Settings) -> None:
    """Remove what is too old, in parts, so that a running daemon waits for none of them long."""
    periods = settings.database.retention
    removed = 0
    with opened(settings) as database:
        known = set(database.read_now(_connections))
        arguments = database, periods, [each for each in settings.connections if each in known], settings.triggers
        while part := database.write_now(maintenance.prune, *arguments):
            removed += part
    print(f"{removed:,} rows removed")


def _connections(tx: sa.Connection) -> list[str]:
    """The connections that a daemon has ever worked with."""
    return list(tx.execute(sa.select(schema.connections.c.name)).scalars())
