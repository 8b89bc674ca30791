"""Running daemons: each has a row that its heartbeat keeps fresh, and holds claims in other tables by its id.

One heartbeat per daemon replaces an expiry on every claimed row. On SQLite a start frees all claims, since no other
daemon can be alive.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from daemon.storage.schema import connections, instances

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

INSTANCE_TTL = timedelta(seconds=13)  # a daemon without a heartbeat for this long counts as dead


def register(
    tx: sa.Connection, instance: str, hostname: str, version: str, now: datetime, config_hash: str | None = None
) -> None:
    """Add the row of a daemon that starts."""
    row = {"id": instance, "hostname": hostname, "version": version, "started_at": now, "heartbeat_at": now}
    row["config_hash"] = config_hash
    tx.execute(instances.insert().values(row))


def heartbeat(tx: sa.Connection, instance: str, now: datetime) -> bool:
    """Refresh a daemon's row. False: it was reaped, and its claims were released."""
    return tx.execute(instances.update().where(instances.c.id == instance).values(heartbeat_at=now)).rowcount == 1


def record_clock(tx: sa.Connection, instance: str, ahead: timedelta) -> None:
    """Record how far a daemon's clock is ahead of PagerDuty's; negative: behind."""
    seconds = round(ahead.total_seconds())
    tx.execute(instances.update().where(instances.c.id == instance).values(clock_ahead_seconds=seconds))


def reap(tx: sa.Connection, now: datetime, has_ended: Callable[[str], bool] = lambda _instance: False) -> list[str]:
    """Remove daemons without a heartbeat for ``INSTANCE_TTL``, or that ``has_ended`` knows; return their ids.

    This releases their polls; the caller releases their deliveries and actions.
    """
    rows = tx.execute(sa.select(instances.c.id, instances.c.heartbeat_at)).all()
    dead = [row.id for row in rows if abs(now - row.heartbeat_at) > INSTANCE_TTL or has_ended(row.id)]
    removed = list(tx.execute(instances.delete().where(instances.c.id.in_(dead)).returning(instances.c.id)).scalars())
    orphaned = connections.c.polled_by.is_not(None) & connections.c.polled_by.not_in(sa.select(instances.c.id))
    tx.execute(connections.update().where(orphaned).values(polled_by=None))
    return removed


def leave(tx: sa.Connection, instance: str) -> None:
    """Remove the row of a daemon that stops, and release its polls."""
    tx.execute(instances.delete().where(instances.c.id == instance))
    release_polls(tx, instance)


def release_polls(tx: sa.Connection, instance: str, keep: Collection[str] = ()) -> None:
    """Release a daemon's polls, except those of the connections ``keep``."""
    mine = connections.update().where(connections.c.polled_by == instance, connections.c.name.not_in(keep))
    tx.execute(mine.values(polled_by=None))
