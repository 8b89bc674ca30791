"""The daemon's database, opened by a command."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from daemon import errors
from daemon.storage.database import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    import sqlalchemy as sa

    from daemon.settings import Settings

T = TypeVar("T")


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """Open the daemon's database, which must exist and have this version's schema. Raises DatabaseError."""
    database = Database(settings.database.url.get_secret_value())
    try:
        if database.is_sqlite and not Path(database.url.database or "").exists():
            message = f"the database {database.url.database} does not exist yet (start the daemon: pagerelay run)"
            raise errors.DatabaseError(message)
        database.check()
        yield database
    finally:
        database.close()


def read_page(
    settings: Settings, view: Callable[..., T], *, limit: int, after: str | None, **filters: str | None
) -> tuple[T, datetime]:
    """Return the newest page of a list, or the page after a cursor, and the database's time."""
    with opened(settings) as database:

        def look(tx: sa.Connection) -> tuple[T, datetime]:
            return view(tx, **filters, limit=limit, after=after, last=after is None), database.now(tx)

        return database.read_now(look)
