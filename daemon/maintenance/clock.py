"""A clock that was set back: what waits for a later time must not wait longer by as much."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa
import structlog

from daemon.storage import due_times
from daemon.storage.schema import instances

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from daemon.storage.database import Database

log = structlog.get_logger()

EVERY = timedelta(seconds=5)
TOLERANCE = timedelta(seconds=2)  # a clock that is slewed does not count as set back


class SetBack:
    """Compares the database's clock with a monotonic one. ``wake`` looks for deliveries that have become due.

    Of several daemons, only the oldest one moves the times, so that they are moved once.
    """

    def __init__(
        self,
        database: Database,
        instance: str,
        wake: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._instance = instance
        self._wake = wake
        self._monotonic = monotonic
        self._last: tuple[datetime, float] | None = None

    async def run(self) -> timedelta:
        """Compare the clocks, and move what waits if one was set back."""
        before, last = self._monotonic(), self._last
        now = await self._database.read(self._database.now)
        self._last = now, before
        if last is not None:
            jump = last[0] + timedelta(seconds=before - last[1]) - now
            if jump > TOLERANCE and await self._database.write(self._move, now, jump):
                log.warning("clock.set_back", seconds=round(jump.total_seconds()))
                self._wake()
        return EVERY

    def _move(self, tx: sa.Connection, now: datetime, jump: timedelta) -> bool:
        oldest = tx.execute(
            sa.select(instances.c.id).order_by(instances.c.started_at, instances.c.id).limit(1)
        ).scalar()
        if oldest != self._instance:
            return False
        due_times.move_back(tx, now, jump)
        return True
