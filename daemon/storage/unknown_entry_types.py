"""The numbers of log entries of unknown types that each connection has read, by type."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from daemon import text
from daemon.storage.schema import unknown_entry_types as counts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

MOST_TYPES = 100  # of a connection, so that a log full of odd names fills neither table nor metrics
OTHERS = "others"  # counts the entries of all further types
LONGEST_TYPE = 100  # characters


def add(tx: sa.Connection, connection: str, entries: Mapping[str, int], now: datetime) -> None:
    """Add to a connection's counts; ``entries`` maps types to the number of new entries.

    The caller holds the connection's row, so nobody else adds to these counts.
    """
    if not entries:
        return
    mine = counts.c.connection == connection
    counted = set(tx.execute(sa.select(counts.c.type).where(mine)).scalars())
    for full_name, number in entries.items():
        name = text.printable(full_name)[:LONGEST_TYPE]  # PostgreSQL stores no NUL
        if name not in counted and len(counted) >= MOST_TYPES:
            name = OTHERS
        if name in counted:
            values = {"entries": counts.c.entries + number, "last_seen_at": now}
            tx.execute(counts.update().where(mine, counts.c.type == name).values(values))
        else:
            row = {"connection": connection, "type": name, "entries": number}
            tx.execute(counts.insert().values(row | {"first_seen_at": now, "last_seen_at": now}))
            counted.add(name)


def prune(tx: sa.Connection, connection: str, before: datetime) -> int:
    """Forget a connection's types last seen before then; return how many."""
    old = counts.c.connection == connection, counts.c.last_seen_at < before
    return int(tx.execute(counts.delete().where(*old)).rowcount)
