"""Alerts about targets and connections that have been failing for long, and about their recovery.

The row of a target or connection records whether an alert was sent. It is written in the same transaction as the
message, so that each failure causes one alert, across restarts and replicas.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
import structlog

from daemon import ids
from daemon.model import PAUSED_BY_HAND, Alert
from daemon.storage import messages
from daemon.storage.schema import connections, targets
from daemon.text import iso
from daemon.views import target_health

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from daemon.model import Json
    from daemon.settings import Target
    from daemon.storage.database import Database

log = structlog.get_logger()

EVERY = timedelta(seconds=5)


class Due(NamedTuple):
    """An alert that is due: its kind, and when the state began, which distinguishes one failure from the next."""

    kind: str
    since: datetime


class Alerting:
    """Alerts the targets ``to`` about failures longer than ``after``. ``wake_targets`` receives the targets to wake."""

    def __init__(
        self,
        database: Database,
        watched: Mapping[str, Target],
        accounts: Iterable[str],
        to: Sequence[str],
        after: timedelta,
        wake_targets: Callable[[Iterable[str]], None],
    ) -> None:
        self._database = database
        self._watched = watched
        self._names = {targets: frozenset(watched), connections: frozenset(accounts)}
        self._to = to
        self._after = after
        self._wake_targets = wake_targets

    async def run(self) -> timedelta:
        """Queue all due alerts, each in its own transaction, which locks one row."""
        for table, name in await self._database.read(self._look):
            kind = await self._database.write(self._enqueue, table, name)
            if kind is not None:
                log.info("alert.queued", alert=kind, name=name)
                self._wake_targets(self._to)
        return EVERY

    def _look(self, tx: sa.Connection) -> list[tuple[sa.Table, str]]:
        now = self._database.now(tx)
        rows = [(table, row) for table in self._names for row in tx.execute(sa.select(table)).all()]
        return [(table, row.name) for table, row in rows if self._due(table, row, now) is not None]

    def _due(self, table: sa.Table, row: Any, now: datetime) -> Due | None:  # noqa: ANN401 - a row of the table
        if row.name not in self._names[table]:
            return None
        return (of_target if table is targets else of_connection)(row, self._after, now)

    def _enqueue(self, tx: sa.Connection, table: sa.Table, name: str) -> str | None:
        """Queue the alert and record that it was queued; return its kind, or None if none was due."""
        now = self._database.now(tx)
        row = tx.execute(sa.select(table).where(table.c.name == name).with_for_update()).one()
        due = self._due(table, row, now)
        if due is None:
            return None
        over = due.kind.endswith(".recovered")
        tx.execute(table.update().where(table.c.name == name).values(alerted_at=None if over else now))
        to = [target for target in self._to if table is connections or target != name]
        if not to:
            return None
        alert = Alert(due.kind, now, self._of_target(tx, row, now) if table is targets else _of_connection(row))
        message_id = ids.message_id(f"{due.kind} {name}", due.since.isoformat())
        messages.enqueue_alert(tx, message_id, alert, f"{due.kind.partition('.')[0]} {name}", to, now)
        return due.kind

    def _of_target(self, tx: sa.Connection, row: Any, now: datetime) -> Json:  # noqa: ANN401 - a row of the targets table
        (status,) = target_health.read(tx, {row.name: self._watched[row.name]}, now)
        return {
            "name": row.name,
            "failing_since": _iso(row.failing_since),
            "refusing_since": _iso(row.refusing_since),
            "last_error": row.last_error,
            "paused_at": _iso(row.paused_at),
            "paused_reason": row.paused_reason,
            "pending": status.pending,
            "oldest_pending_at": _iso(status.oldest_pending_at),
            "dead": status.dead,
        }


def of_target(row: Any, after: timedelta, now: datetime) -> Due | None:  # noqa: ANN401 - a row of the targets table
    """Return the alert that is due for a target. A target has recovered if it accepted something after an alert."""
    alerted_at: datetime | None = row.alerted_at
    if row.paused_at is not None:
        fresh = _is_news(alerted_at, row.paused_at, now)
        return Due("target.paused", row.paused_at) if fresh and row.paused_reason != PAUSED_BY_HAND else None
    if row.failing_since is not None:
        return _of_failing("target.failing", row.failing_since, alerted_at, after, now)
    if row.refusing_since is not None:
        return _of_failing("target.refusing", row.refusing_since, alerted_at, after, now)
    if alerted_at is not None and row.last_success_at is not None and row.last_success_at > alerted_at:
        return Due("target.recovered", alerted_at)
    return None


def of_connection(row: Any, after: timedelta, now: datetime) -> Due | None:  # noqa: ANN401 - a row of the connections table
    """Return the alert that is due for a connection."""
    if row.failing_since is not None:
        return _of_failing("connection.failing", row.failing_since, row.alerted_at, after, now)
    return None if row.alerted_at is None else Due("connection.recovered", row.alerted_at)


def _of_failing(kind: str, since: datetime, alerted_at: datetime | None, after: timedelta, now: datetime) -> Due | None:
    return Due(kind, since) if _is_news(alerted_at, since, now) and now - since >= after else None


def _is_news(alerted_at: datetime | None, since: datetime, now: datetime) -> bool:
    """Return whether no alert was sent since then. If the clock was set back, alert again: a repeat has the same id."""
    return alerted_at is None or alerted_at < since or alerted_at > now


def _of_connection(row: Any) -> Json:  # noqa: ANN401 - a row of the connections table
    return {
        "name": row.name,
        "failing_since": _iso(row.failing_since),
        "last_error": row.last_error,
        "last_success_at": _iso(row.last_success_at),
        "read_up_to": _iso(row.watermark),
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)
