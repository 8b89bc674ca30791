"""Counting attempts, events and calls for the page's charts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from daemon.storage import history

if TYPE_CHECKING:
    import sqlalchemy as sa

    from daemon.storage.database import Database

EVERY = timedelta(seconds=10)
BEHIND = timedelta(seconds=1)


class History:
    """Counts a bounded part at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self) -> timedelta:
        """Count what is new, and remove what is old."""
        more = await self._database.write(self._count)
        return BEHIND if more else EVERY

    def _count(self, tx: sa.Connection) -> bool:
        history.prune(tx, self._database.now(tx))
        return history.count(tx)
