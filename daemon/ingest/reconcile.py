"""Comparison of the snapshots with the incidents themselves, for changes that the log did not show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from daemon import errors
from daemon.ingest import commit
from daemon.model import CallPriority, Rejected
from daemon.storage import connections, snapshots

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    import sqlalchemy as sa

    from daemon.model import Json
    from daemon.pagerduty import Client
    from daemon.runtime.tracing import Tracing
    from daemon.settings import Connection
    from daemon.storage.database import Clock, Database

log = structlog.get_logger()

VANISHED_AT_ONCE = 20


class Reconcile:
    """Reconciles one connection, at the lowest priority for permits."""

    def __init__(
        self,
        database: Database,
        client: Client,
        connection: Connection,
        clock: Clock,
        *,
        tracing: Tracing | None = None,
    ) -> None:
        self._database = database
        self._client = client
        self._connection = connection
        self._clock = clock
        self._tracing = tracing

    async def run(self) -> timedelta:
        """Reconcile if it is due and the log was read recently; otherwise changes could be reported twice."""
        look_again = min(self._connection.reconcile_every, self._connection.limits.poll_interval)
        read_up_to = await self._database.write(self._begin)
        if read_up_to is None:
            return look_again
        try:
            events = await self._compare(settled=read_up_to - self._connection.overlap)
        except errors.PagerDutyError as error:
            log.warning("reconciliation.failed", connection=self._connection.name, error=str(error))
        else:
            write = log.info if events else log.debug
            write("reconciliation.completed", connection=self._connection.name, events=events)
        return look_again

    def _begin(self, tx: sa.Connection) -> datetime | None:
        """Return how far the log was read, by PagerDuty's clock; None if reconciliation is not due yet."""
        now = self._database.now(tx)
        state = connections.lock(tx, self._connection.name)
        lately = now - self._connection.limits.poll_interval * 3
        if state.failing_since is not None or state.last_success_at is None or state.last_success_at < lately:
            return None
        due = connections.begin_chore(tx, self._connection.name, "reconcile", self._connection.reconcile_every, now)
        return state.watermark if due else None

    async def _compare(self, settled: datetime) -> int:
        """Compare all incidents that are open, or were according to their snapshots; return the number of events.

        Changes after ``settled`` are left to the log.
        """
        read_at = self._clock()
        listing = await self._client.open_incidents(CallPriority.RECONCILIATION)
        incidents: list[tuple[str, Json | None]] = list(listing.incidents.items())
        known = await self._database.read(snapshots.load_open, self._connection.name)
        vanished = sorted(
            (known[incident_id].read_at, incident_id) for incident_id in known.keys() - listing.incidents.keys()
        )
        for _, incident_id in vanished[:VANISHED_AT_ONCE]:
            incident = await self._client.incident(incident_id, CallPriority.RECONCILIATION)
            if not isinstance(incident, Rejected):  # a malformed response does not prove that the incident is gone
                incidents.append((incident_id, incident))
        events = await self._database.write(
            commit.reconciliation,
            self._connection.name,
            incidents,
            settled=settled,
            read_at=read_at,
            now=self._clock(),
        )
        if self._tracing is not None:
            self._tracing.record_events(events)
        return len(events)
