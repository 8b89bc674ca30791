"""Counts of attempts, events and calls in slots of time, for charts. Plain functions on an open transaction.

Slots become hours later, since charts show a day by the hour. Each row is counted once, in the order of its id: the
position is written in the transaction that counts. Rows are counted one round after they were seen, since on
PostgreSQL a smaller id may be committed later than a larger one.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from daemon.model import DeliveryState
from daemon.storage import sql
from daemon.storage.deliveries import count_by_target
from daemon.storage.schema import (
    LATENCIES,
    attempts,
    connection_history,
    deliveries,
    events,
    history_positions,
    permits,
    target_history,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

SLOT = timedelta(minutes=5)
HOUR = timedelta(hours=1)
KEPT_FOR = timedelta(hours=48)
ALL = ""  # in the column target: all targets together
MOST_AT_ONCE = 20_000  # ids that one round counts
LEVELS = ("pending", "dead")  # of a target's deliveries; the highest of a period is kept, all else is added up
SOURCES = {"attempts": attempts.c.id, "events": events.c.seq, "permits": permits.c.id}

Counts = dict[tuple[str, int], dict[str, int]]  # by name and slot


def count(tx: sa.Connection) -> bool:
    """Count what is new; return whether there is more."""
    ranges, more = {}, False
    for name in SOURCES:
        ranges[name], unfinished = _advance(tx, name)
        more |= unfinished
    of_targets = _attempts(tx, *ranges["attempts"])
    for (_, slot), counts in list(of_targets.items()):
        _add(of_targets[ALL, slot], counts)
    _store(tx, target_history, target_history.c.target, of_targets)
    of_connections = _counted(tx, events.c.connection, events.c.detected_at, events.c.seq, ranges["events"], "events")
    calls = _counted(tx, permits.c.connection, permits.c.at, permits.c.id, ranges["permits"], "calls")
    for key, counts in calls.items():
        _add(of_connections[key], counts)
    _store(tx, connection_history, connection_history.c.connection, of_connections)
    return more


def levels(tx: sa.Connection) -> dict[str, tuple[int, int]]:
    """Return how many deliveries are pending and dead, for each target that has some and for all together."""
    pending, dead = (count_by_target(tx, state) for state in (DeliveryState.PENDING, DeliveryState.DEAD))
    none = (0, 0)
    by_target = {name: (pending.get(name, none)[0], dead.get(name, none)[0]) for name in pending | dead}
    of_all = sum(each for each, _ in by_target.values()), sum(each for _, each in by_target.values())
    return by_target | ({ALL: of_all} if by_target else {})


def store_levels(tx: sa.Connection, by_target: Mapping[str, tuple[int, int]], now: datetime) -> None:
    """Store the numbers of pending and dead deliveries at this time, unless there were more in the same slot."""
    at = _start(int(now.timestamp() // SLOT.total_seconds()))
    uncounted = dict.fromkeys((each.name for each in target_history.c if not each.primary_key), 0)
    rows = [
        {"target": target, "at": at} | uncounted | dict(zip(LEVELS, numbers, strict=True))
        for target, numbers in sorted(by_target.items())
    ]
    sql.upsert(tx, target_history, rows, _combined)


def fold(tx: sa.Connection, now: datetime) -> bool:
    """Replace the slots of an hour that ended an hour ago by one row; return whether there was such an hour."""
    until = now.replace(minute=0, second=0, microsecond=0) - HOUR
    of_all = target_history.c.target == ALL  # which has a row for each slot of any target
    return any([_fold(tx, target_history, until, of_all), _fold(tx, connection_history, until)])


def _fold(tx: sa.Connection, table: sa.Table, until: datetime, *chosen: sa.ColumnElement[bool]) -> bool:
    """Replace the slots of the oldest hour before ``until`` that has some; ``chosen`` rows tell which hours do."""
    by, at = table.primary_key.columns
    within = slot_number(tx, at) % (HOUR // SLOT) != 0, at < until
    oldest: datetime | None = tx.execute(sa.select(sa.func.min(at)).where(*within, *chosen)).scalar_one()
    if oldest is None:
        return False
    start = oldest.replace(minute=0)
    hour = at >= start, at < start + HOUR
    figures = [
        (sa.func.max(each) if each.name in LEVELS else sa.func.sum(each)).label(each.name)
        for each in table.c
        if each not in {by, at}
    ]
    sums = tx.execute(sa.select(by, *figures).where(*hour).group_by(by)).mappings().all()
    tx.execute(table.delete().where(*hour))
    rows = [
        {"at": start} | {name: value if name == by.name else int(value) for name, value in row.items()} for row in sums
    ]
    sql.upsert(tx, table, rows)
    return True


def prune(tx: sa.Connection, now: datetime) -> None:
    """Remove what is too old for any chart."""
    for table in (target_history, connection_history):
        tx.execute(table.delete().where(table.c.at < now - KEPT_FOR))


def _advance(tx: sa.Connection, name: str) -> tuple[tuple[int, int], bool]:
    """Move a source's position on; return the ids to count, without the first, and whether there are more.

    The first time, what is there already is left out.
    """
    newest = tx.execute(sa.select(sa.func.max(SOURCES[name]))).scalar_one() or 0
    sql.insert_new(tx, history_positions, [{"name": name, "counted_to": newest, "seen_to": newest}])
    mine = history_positions.c.name == name
    row = tx.execute(sa.select(history_positions).where(mine).with_for_update()).one()
    until = min(row.seen_to, row.counted_to + MOST_AT_ONCE)
    seen = max(newest, row.seen_to)
    tx.execute(history_positions.update().where(mine).values(counted_to=until, seen_to=seen))
    return (row.counted_to, until), until < row.seen_to


def _attempts(tx: sa.Connection, after: int, until: int) -> Counts:
    """Return the attempts with ids in a range, by target and slot."""
    slot = slot_number(tx, attempts.c.at)
    sums = [sa.func.sum(sa.case((attempts.c.duration_ms <= bound, 1), else_=0)) for bound in LATENCIES]
    failures = sa.func.sum(sa.case((attempts.c.error.is_not(None), 1), else_=0))
    joined = attempts.join(deliveries, deliveries.c.id == attempts.c.delivery_id)
    query = sa.select(deliveries.c.target, slot, sa.func.count(), failures, *sums).select_from(joined)
    chosen = query.where(attempts.c.id > after, attempts.c.id <= until).group_by(deliveries.c.target, slot)
    names = ("attempts", "failures", *(f"within_{bound}" for bound in LATENCIES))
    counts: Counts = defaultdict(lambda: dict.fromkeys(names, 0))
    for target, at, *numbers in tx.execute(chosen).all():
        counts[target, int(at)] = dict(zip(names, map(int, numbers), strict=True))
    return counts


def _counted(
    tx: sa.Connection,
    by: sa.Column[str],
    at: sa.Column[datetime],
    key: sa.Column[int],
    ids: tuple[int, int],
    name: str,
) -> Counts:
    """Return the number of rows with ids in a range, by a column and slot."""
    slot = slot_number(tx, at)
    query = sa.select(by, slot, sa.func.count()).where(key > ids[0], key <= ids[1]).group_by(by, slot)
    counts: Counts = defaultdict(lambda: {"events": 0, "calls": 0})
    for connection, number, rows in tx.execute(query).all():
        counts[connection, int(number)][name] = int(rows)
    return counts


def _add(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for name, number in more.items():
        counts[name] += number


def _store(tx: sa.Connection, table: sa.Table, by: sa.Column[str], counts: Counts) -> None:
    """Add counts to the rows of their slots."""
    rows = [{by.name: name, "at": _start(slot)} | numbers for (name, slot), numbers in sorted(counts.items())]
    sql.upsert(tx, table, rows, _combined)


def _start(slot: int) -> datetime:
    return datetime.fromtimestamp(slot * SLOT.total_seconds(), UTC)


def _combined(old: sa.ColumnElement[Any], new: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.case((old > new, old), else_=new) if new.key in LEVELS else old + new


def slot_number(tx: sa.Connection, column: sa.Column[datetime], period: timedelta = SLOT) -> sa.ColumnElement[Any]:
    """Return the number of the slot, counted from 1970, in which a time lies."""
    seconds = int(period.total_seconds())
    if sql.is_postgres(tx):
        return sa.cast(sa.func.floor(sa.extract("epoch", column) / seconds), sa.BigInteger)
    return sa.type_coerce(column, sa.BigInteger).op("/")(sa.literal_column(str(seconds * 1_000_000)))
