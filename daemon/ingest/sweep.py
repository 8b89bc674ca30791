"""Rereading of the log, much further back than polls do, for entries that PagerDuty showed late."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from daemon import errors
from daemon.ingest import commit
from daemon.ingest.pace import SWEEP_REACH, Pace
from daemon.model import CallPriority
from daemon.storage import connections

if TYPE_CHECKING:
    from datetime import timedelta

    import sqlalchemy as sa

    from daemon.pagerduty import Client
    from daemon.runtime.tracing import Tracing
    from daemon.settings import Connection
    from daemon.storage.database import Clock, Database

log = structlog.get_logger()


class Sweep:
    """Sweeps one connection, oldest entries first, at the lowest permit priority."""

    def __init__(
        self,
        database: Database,
        client: Client,
        connection: Connection,
        clock: Clock,
        *,
        pace: Pace | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._database = database
        self._client = client
        self._connection = connection
        self._clock = clock
        self._tracing = tracing
        self._window = (pace or Pace(connection.overlap)).sweep_window

    async def run(self) -> timedelta:
        """Sweep if it is due, but never beyond the watermark of the polls."""
        look_again = min(self._connection.sweep_every, self._connection.limits.poll_interval)
        state = await self._database.write(self._begin)
        if state is None or state.watermark is None or state.baseline_at is None:
            return look_again
        end = state.watermark
        since = max(end - SWEEP_REACH, state.baseline_at)
        events = 0
        try:
            while since < end:
                until = min(end, since + self._window.current)
                read_at = self._clock()
                try:
                    window = await self._client.log_entries(since, until, CallPriority.RECONCILIATION)
                except errors.WindowTooLarge:
                    if self._window.halve(until - since):
                        continue
                    raise
                new = await self._database.write(
                    commit.window,
                    self._connection.name,
                    window.entries,
                    window.rejected,
                    read_at=read_at,
                    now=self._clock(),
                )
                events += len(new)
                if self._tracing is not None:
                    self._tracing.record_events(new)
                since = until
                self._window.adapt(window.calls)
        except errors.PagerDutyError as error:
            log.warning("sweep.failed", connection=self._connection.name, error=str(error))
            return look_again
        write = log.info if events else log.debug
        write("sweep.completed", connection=self._connection.name, events=events)
        return look_again

    def _begin(self, tx: sa.Connection) -> connections.ConnectionState | None:
        now = self._database.now(tx)
        state = connections.lock(tx, self._connection.name)
        if state.watermark is None or state.failing_since is not None:
            return None
        due = connections.begin_chore(tx, self._connection.name, "sweep", self._connection.sweep_every, now)
        return state if due else None
