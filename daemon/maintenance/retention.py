"""Removal of rows older than their retention period, a few at a time so that no other transaction waits long."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from daemon.ingest import commit
from daemon.storage import (
    action_queue,
    connections,
    journal,
    messages,
    replays,
    sessions,
    snapshots,
    unknown_entry_types,
)

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    import sqlalchemy as sa

    from daemon.settings import RetentionPeriods
    from daemon.storage.database import Database

log = structlog.get_logger()

EVERY = timedelta(minutes=10)
MOST_ROWS = 500  # of one table in one transaction
PAUSE = 3.0  # times the duration of a transaction: SQLite has one writer, and deliveries must not wait for it
SEEN_FOR = timedelta(days=3)  # longer than any overlap or sweep goes back
SESSION_FOR = timedelta(days=1)  # longer than a cookie is valid
SNAPSHOT_FOR = commit.HISTORY + timedelta(days=1)


class Retention:
    """Prunes all tables for the configured connections and triggers."""

    def __init__(
        self, database: Database, periods: RetentionPeriods, connections: Collection[str], triggers: Collection[str]
    ) -> None:
        self._database = database
        self._periods = periods
        self._connections = connections
        self._triggers = triggers

    async def run(self) -> timedelta:
        """Remove all expired rows in batches, with pauses in which others can write."""
        removed, began = 0, time.monotonic()
        while part := await self._database.write(
            prune, self._database, self._periods, self._connections, self._triggers
        ):
            removed += part
            await asyncio.sleep(PAUSE * (time.monotonic() - began))
            began = time.monotonic()
        if removed:
            log.info("retention.completed", removed=removed)
        return EVERY


def count_expired(tx: sa.Connection, database: Database, periods: RetentionPeriods) -> tuple[int, int]:
    """Return how many deliveries and events are older than their retention; a few of the events may still be needed."""
    now = database.now(tx)
    ended = messages.count_expired(tx, delivered=periods.deliveries, dead=periods.dead, now=now)
    return ended, journal.count_expired(tx, now - periods.events)


def prune(
    tx: sa.Connection,
    database: Database,
    periods: RetentionPeriods,
    names: Collection[str],
    triggers: Collection[str],
) -> int:
    """Remove at most a few hundred rows of each table; return how many were removed.

    ``names`` are the configured connections, ``triggers`` the configured triggers.
    """
    now = database.now(tx)
    removed = messages.prune(tx, delivered=periods.deliveries, dead=periods.dead, now=now, limit=MOST_ROWS)
    removed += action_queue.prune(tx, periods.actions, now, MOST_ROWS)
    removed += replays.prune(tx, periods.actions, now, MOST_ROWS)
    removed += sessions.prune(tx, now - SESSION_FOR, MOST_ROWS)
    for name in names:
        removed += prune_connection(tx, name, periods.events, now, MOST_ROWS)
    return removed + journal.prune(tx, triggers, now - periods.events, MOST_ROWS, messages.needed_events())


def prune_connection(tx: sa.Connection, name: str, retention: timedelta, now: datetime, limit: int) -> int:
    """Remove a connection's old entry ids, snapshots, counts and quarantined records; return how many rows.

    The age of ids and snapshots counts from the watermark: while a connection is behind, everything is kept that
    entries still to be read may need.
    """
    read_to = min(now, connections.lock(tx, name).watermark or now)
    removed = journal.prune_seen(tx, name, read_to - SEEN_FOR, limit)
    removed += snapshots.prune(tx, name, read_to - max(retention, SNAPSHOT_FOR), limit)
    removed += unknown_entry_types.prune(tx, name, now - retention)
    return removed + journal.prune_quarantine(tx, name, now - retention, limit)
