"""The state of the configured connections, and which of them make the daemon unready."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from daemon.storage import permits
from daemon.storage.schema import connections, quarantine, snapshots, unknown_entry_types
from daemon.triggers import is_known
from daemon.views import action_list, rows
from daemon.views.action_list import ActionQueue  # noqa: TC001 - the API reads the annotations
from daemon.views.health import Health

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from daemon.settings import Connection, Trigger

OPEN = ("triggered", "acknowledged")
MISSED_POLLS = 3
SHORTEST_PATIENCE = timedelta(seconds=3)


@dataclass(frozen=True, slots=True)
class Budget:
    """A connection's calls in the current period (``period`` in seconds)."""

    calls: int
    period: float
    used: int
    left: int


@dataclass(frozen=True, slots=True)
class UnknownEntryType:
    """A type of log entries that this version does not know, and how many of them were read."""

    type: str
    entries: int
    first_seen_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True, slots=True)
class CatchUpProgress:
    """How far a running poll has read the log after a downtime: the share that is done, and the seconds left.

    ``left`` is an estimate from the speed so far.
    """

    done: float
    left: float


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """One PagerDuty account. ``lag`` is the age of its watermark in seconds."""

    name: str
    health: Health
    baseline_at: datetime | None
    last_poll_at: datetime | None
    last_success_at: datetime | None
    next_poll_at: datetime | None
    failing_since: datetime | None
    last_error: str | None
    watermark: datetime | None
    lag: float | None
    catch_up: CatchUpProgress | None
    budget: Budget
    blocked_until: datetime | None
    actions: ActionQueue
    open_incidents: int
    quarantined: int
    unknown_entry_types: tuple[UnknownEntryType, ...]
    next_sweep_at: datetime | None
    next_reconcile_at: datetime | None


def read(
    tx: sa.Connection, configured: Mapping[str, Connection], triggers: Iterable[Trigger], now: datetime
) -> tuple[ConnectionStatus, ...]:
    """Return the configured connections, in the configuration's order."""
    triggers = list(triggers)
    by_name = {row.name: row for row in tx.execute(sa.select(connections))}
    open_incidents = _count(tx, snapshots.c.connection, snapshots.c.status.in_(OPEN))
    quarantined = _count(tx, quarantine.c.connection)
    unknown = _unknown_entry_types(tx)
    queues = action_list.read_queues(tx, configured, now)
    statuses = []
    for name, connection in configured.items():
        row = by_name.get(name)
        limits = connection.limits
        used = permits.used(tx, name, limits, now)
        status = rows.as_value(
            ConnectionStatus,
            row,
            name=name,
            health=_health(row, patience(connection, triggers), now),
            lag=None if row is None or row.watermark is None else (now - row.watermark).total_seconds(),
            catch_up=_catch_up(row, patience(connection, triggers), now),
            budget=Budget(limits.calls, limits.period.total_seconds(), used, max(limits.calls - used, 0)),
            blocked_until=_blocked_until(row, now),
            actions=queues[name],
            open_incidents=open_incidents[name],
            quarantined=quarantined[name],
            unknown_entry_types=tuple(unknown[name]),
        )
        statuses.append(status)
    return tuple(statuses)


def read_unready(
    tx: sa.Connection, configured: Mapping[str, Connection], triggers: Iterable[Trigger], now: datetime
) -> list[str]:
    """Return one line for each connection without a successful poll in its last three poll intervals.

    A poll that reads what happened during a downtime may take longer. That is no reason, as long as it gets on.
    """
    triggers = list(triggers)
    by_name = {row.name: row for row in tx.execute(sa.select(connections))}
    lines = []
    for name, connection in configured.items():
        row = by_name.get(name)
        if row is None or row.last_success_at is None:
            lines.append(f"connection {name}: not polled yet{_reason(row)}")
        elif now - row.last_success_at > (longest := patience(connection, triggers)):
            if row.failing_since is None and _catch_up(row, longest, now) is not None:
                continue
            seconds = (now - row.last_success_at).total_seconds()
            lines.append(f"connection {name}: not polled for {seconds:.0f} s{_reason(row)}")
    return lines


def patience(connection: Connection, triggers: Iterable[Trigger]) -> timedelta:
    """Return how long after its last success a connection is late."""
    every = [trigger.every for trigger in triggers if trigger.connection == connection.name]
    limit = connection.limits.poll_interval
    return max(max(limit, min(every, default=limit)) * MISSED_POLLS, SHORTEST_PATIENCE)


def _catch_up(row: Any, patience: timedelta, now: datetime) -> CatchUpProgress | None:  # noqa: ANN401 - a row of the connections table, or None
    """Return how far a running poll has come; None if it is not far behind, or has not read anything yet.

    The log was read up to about the end of the last successful poll when this one began.
    """
    if row is None or None in (row.polled_by, row.last_success_at, row.last_poll_at, row.watermark):
        return None
    read, behind = row.watermark - row.last_success_at, now - row.watermark
    if behind <= patience or read <= timedelta(0):
        return None
    return CatchUpProgress(done=read / (read + behind), left=behind / read * (now - row.last_poll_at).total_seconds())


def _reason(row: Any) -> str:  # noqa: ANN401 - a row of the connections table, or None
    return f" ({row.last_error})" if row is not None and row.last_error else ""


def _count(tx: sa.Connection, by: sa.Column[str], *where: sa.ColumnElement[bool]) -> defaultdict[str, int]:
    counts = tx.execute(sa.select(by, sa.func.count()).where(*where).group_by(by))
    return defaultdict(int, ((name, count) for name, count in counts))


def _unknown_entry_types(tx: sa.Connection) -> defaultdict[str, list[UnknownEntryType]]:
    """Return the types by connection, the most frequent first; a type that this version knows is left out."""
    by_connection: defaultdict[str, list[UnknownEntryType]] = defaultdict(list)
    by_entries = unknown_entry_types.c.entries.desc(), unknown_entry_types.c.type
    for row in tx.execute(sa.select(unknown_entry_types).order_by(*by_entries)):
        if not is_known(row.type):
            by_connection[row.connection].append(rows.as_value(UnknownEntryType, row))
    return by_connection


def _blocked_until(row: Any, now: datetime) -> datetime | None:  # noqa: ANN401 - a row of the connections table, or None
    """Return the end of the pause that PagerDuty requested; one that is too long dates from before a clock change."""
    until: datetime | None = None if row is None else row.blocked_until
    return until if until is not None and now < until <= now + permits.LONGEST_BLOCK else None


def _health(row: Any, patience: timedelta, now: datetime) -> Health:  # noqa: ANN401 - a row of the connections table, or None
    if row is None:
        return Health.WAITING
    if row.failing_since is not None:
        return Health.FAILING
    if _blocked_until(row, now) is not None:
        return Health.BLOCKED
    last = row.last_success_at or row.last_poll_at
    if last is not None and now - last > patience:
        return Health.LATE if _catch_up(row, patience, now) is None else Health.BEHIND
    return Health.WAITING if row.last_success_at is None else Health.OK
