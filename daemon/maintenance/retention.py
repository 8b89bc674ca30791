"""Removing what is older than it need be kept, a little at a time so that nothing else waits for it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from daemon.storage import action_queue, messages, replays, store

if TYPE_CHECKING:
    from collections.abc import Collection

    import sqlalchemy as sa

    from daemon.settings import RetentionPeriods
    from daemon.storage.database import Database

log = structlog.get_logger()

EVERY = timedelta(minutes=10)
PART = 500


class Retention:
    """Prunes everything, for the connections and triggers that are configured."""

    def __init__(
        self, database: Database, periods: RetentionPeriods, connections: Collection[str], triggers: Collection[str]
    ) -> None:
        self._database = database
        self._periods = periods
        self._connections = connections
        self._triggers = triggers

    async def run(self) -> timedelta:
        """Remove what is too old, part by part."""
        removed = 0
        while part := await self._database.write(
            prune, self._database, self._periods, self._connections, self._triggers
        ):
            removed += part
        if removed:
            log.info("retention.completed", removed=removed)
        return EVERY


def prune(
    tx: sa.Connection,
    database: Database,
    periods: RetentionPeriods,
    connections: Collection[str],
    triggers: Collection[str],
) -> int:
    """Remove at most a few hundred rows of each table; answers how many went."""
    now = database.now(tx)
    removed = messages.prune(tx, delivered=periods.deliveries, dead=periods.dead, now=now, limit=PART)
    removed += action_queue.prune(tx, periods.actions, now, PART)
    removed += replays.prune(tx, periods.actions, now, PART)
    for name in connections:
        removed += store.prune(tx, name, periods.events, now, PART)
    return removed + store.prune_journal(tx, periods.events, triggers, now, PART, messages.needed_events())
