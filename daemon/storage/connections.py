"""The rows of connections and triggers: when they run next, who polls, and how the last poll went.

Whoever writes to a connection locks its row first (``lock``), so that replicas change a connection one after
the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa

from daemon import errors
from daemon.storage import journal, sql
from daemon.storage.schema import connections, events, triggers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from daemon.settings import Trigger

TAKEN_LOOK = timedelta(seconds=2)  # while another daemon polls, which may stop without a word


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """A connection's row: how far its log was read, and which daemon polls it."""

    name: str
    baseline_at: datetime | None
    watermark: datetime | None
    polled_by: str | None
    next_poll_at: datetime
    last_success_at: datetime | None
    failing_since: datetime | None


@dataclass(frozen=True, slots=True)
class PollClaim:
    """The right to poll a connection now: its state before, and the names of the triggers that are due."""

    state: ConnectionState
    due: tuple[str, ...]


def ensure(tx: sa.Connection, names: Iterable[str], configured: Collection[Trigger], now: datetime) -> None:
    """Add the missing rows of connections and triggers.

    A new trigger starts at the journal's head, or at the first event not before its ``start``. The row of a trigger
    that is no longer configured stays: if the trigger comes back, it resumes. Errors of triggers are cleared: the
    new configuration may have fixed them, and otherwise they are recorded again.
    """
    for name in names:
        row = {"name": name, "next_poll_at": now, "next_sweep_at": now, "next_reconcile_at": now}
        sql.insert_new(tx, connections, [row])
    rows = tx.execute(sa.select(triggers.c.name, triggers.c.connection))
    known = {row.name: row.connection for row in rows}
    for trigger in configured:
        if trigger.name not in known:
            row = {"name": trigger.name, "connection": trigger.connection, "next_poll_at": now}
            sql.insert_new(tx, triggers, [row | {"watermark": _first_watermark(tx, trigger)}])
        elif known[trigger.name] != trigger.connection:
            values = {"connection": trigger.connection, "watermark": _first_watermark(tx, trigger)}
            tx.execute(triggers.update().where(triggers.c.name == trigger.name).values(values))
    record_condition_errors(tx, {trigger.name: None for trigger in configured})


def _first_watermark(tx: sa.Connection, trigger: Trigger) -> int:
    head = journal.head(tx)
    if trigger.start is None:
        return head
    mine = events.c.connection == trigger.connection
    first = tx.execute(sa.select(sa.func.min(events.c.seq)).where(mine, events.c.occurred_at >= trigger.start)).scalar()
    return head if first is None else int(first) - 1


def lock(tx: sa.Connection, name: str) -> ConnectionState:
    """Return the connection's row and keep it locked until the transaction ends.

    Raises DatabaseError if the connection has no row.
    """
    columns = (
        connections.c.name,
        connections.c.baseline_at,
        connections.c.watermark,
        connections.c.polled_by,
        connections.c.next_poll_at,
        connections.c.last_success_at,
        connections.c.failing_since,
    )
    row = tx.execute(sa.select(*columns).where(connections.c.name == name).with_for_update()).one_or_none()
    if row is None:
        raise errors.DatabaseError(f'the database has no connection "{name}" (restart the daemon)')
    return ConnectionState(*row)


def move_watermark(tx: sa.Connection, name: str, watermark: datetime, *, baseline_at: datetime | None = None) -> None:
    """Record that the log was completely read up to ``watermark``, which never moves back."""
    values: dict[str, Any] = {"watermark": watermark}
    if baseline_at is not None:
        values["baseline_at"] = baseline_at
    forwards = sa.or_(connections.c.watermark.is_(None), connections.c.watermark < watermark)
    tx.execute(connections.update().where(connections.c.name == name, forwards).values(values))


# --- claims


def begin_poll(
    tx: sa.Connection,
    name: str,
    every: Mapping[str, timedelta],
    interval: timedelta,
    instance: str,
    now: datetime,
) -> PollClaim | datetime:
    """Claim the poll of a connection and of its triggers that are due (``every``: the interval of each trigger).

    Returns when to ask again if nothing may run now. The claim itself moves the due times. A due time that is
    further ahead than its interval allows counts as past: the clock was set back.
    """
    state = lock(tx, name)
    if state.polled_by is not None and state.polled_by != instance:
        return now + min(interval / 2, TAKEN_LOOK)
    if now < state.next_poll_at <= now + interval:
        return state.next_poll_at
    mine = sa.select(triggers.c.name, triggers.c.next_poll_at).where(triggers.c.connection == name)
    due_at: dict[str, datetime] = {row.name: row.next_poll_at for row in tx.execute(mine) if row.name in every}
    due = [trigger for trigger, at in due_at.items() if not now < at <= now + every[trigger]]
    if due_at and not due:
        return min(due_at.values())
    for group_interval in {every[trigger] for trigger in due}:
        group = [trigger for trigger in due if every[trigger] == group_interval]
        values = {"next_poll_at": now + group_interval, "last_run_at": now}
        tx.execute(triggers.update().where(sql.among(tx, triggers.c.name, group)).values(values))
    claim = {"polled_by": instance, "next_poll_at": now + interval, "last_poll_at": now}
    tx.execute(connections.update().where(connections.c.name == name).values(claim))
    return PollClaim(state, tuple(due))


def end_poll(
    tx: sa.Connection, name: str, instance: str, error: str | None, now: datetime, *, reached_end: bool = True
) -> datetime | None:
    """Release the claim and record how the poll went; return since when the connection had been failing before.

    Without an error, and without having ``reached_end`` of the log, the time of the last success stays as it is.
    """
    state = lock(tx, name)
    if state.polled_by != instance:
        return state.failing_since  # another daemon has taken the poll over
    values: dict[str, Any] = {"polled_by": None}
    if error is None:
        values |= {"failing_since": None, "last_error": None}
        values |= {"last_success_at": now} if reached_end else {}
    else:
        values |= {"failing_since": state.failing_since or now, "last_error": error}
    tx.execute(connections.update().where(connections.c.name == name).values(values))
    return state.failing_since


def begin_chore(
    tx: sa.Connection, name: str, chore: Literal["sweep", "reconcile"], every: timedelta, now: datetime
) -> bool:
    """Claim the sweep or reconciliation of a connection; False if it is not due."""
    column = connections.c[f"next_{chore}_at"]
    due = sa.or_(column <= now, column > now + every)
    claimed = connections.update().where(connections.c.name == name, due).values({column: now + every})
    return tx.execute(claimed).rowcount == 1


# --- triggers


def record_last_events(tx: sa.Connection, last: Mapping[str, datetime]) -> None:
    """Record when each trigger last had an event to send."""
    rows = [{"trigger": name, "at": at} for name, at in last.items()]
    if rows:
        statement = triggers.update().where(triggers.c.name == sa.bindparam("trigger"))
        tx.execute(statement.values(last_event_at=sa.bindparam("at")), rows)


def record_trigger_error(tx: sa.Connection, name: str, error: str | None) -> None:
    """Record why a trigger cannot run, or clear the error."""
    differs = triggers.c.last_error.is_distinct_from(error)
    tx.execute(triggers.update().where(triggers.c.name == name, differs).values(last_error=error))


def record_condition_errors(tx: sa.Connection, condition_errors: Mapping[str, str | None]) -> None:
    """Record, for each trigger, what was wrong with its condition; None clears the error."""
    working = [name for name, error in condition_errors.items() if error is None]
    if working:
        failed = sql.among(tx, triggers.c.name, working) & triggers.c.last_error.is_not(None)
        tx.execute(triggers.update().where(failed).values(last_error=None))
    for name, error in condition_errors.items():
        if error is not None:
            record_trigger_error(tx, name, error)
