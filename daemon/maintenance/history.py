"""Counts of attempts, events, calls and waiting deliveries for the page's charts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from daemon.storage import history

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import sqlalchemy as sa

    from daemon.storage.database import Database

EVERY = timedelta(seconds=10)
BEHIND = timedelta(seconds=1)
LOOK_EVERY = timedelta(minutes=1)


class History:
    """Counts a bounded part at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._looked_at: datetime | None = None  # at the numbers of waiting deliveries

    async def run(self) -> timedelta:
        """Count what is new, and summarise and remove what is old."""
        more = await self._database.write(self._count)
        now = self._database.clock()
        if self._looked_at is None or not timedelta(0) <= now - self._looked_at < LOOK_EVERY:
            levels = await self._database.read(history.levels)
            await self._database.write(self._store, levels)
            self._looked_at = now
        return BEHIND if more else EVERY

    def _count(self, tx: sa.Connection) -> bool:
        now = self._database.now(tx)
        history.prune(tx, now)
        return any([history.count(tx), history.fold(tx, now)])

    def _store(self, tx: sa.Connection, levels: Mapping[str, tuple[int, int]]) -> None:
        history.store_levels(tx, levels, self._database.now(tx))
