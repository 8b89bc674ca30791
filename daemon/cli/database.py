"""The daemon's database, opened by a command."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from daemon import errors
from daemon.storage.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon.settings import Settings


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
