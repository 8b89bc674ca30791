"""The selection of deliveries that may be sent now.

A delivery may be sent only together with, or after, all earlier pending ones of its target and incident: that keeps
their order, across replicas too. Replayed deliveries are a class of their own: they are ordered among themselves, and
neither hold up live ones nor wait for them. The state of targets does not matter here.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from daemon.model import Delivery, Order
from daemon.storage import sql
from daemon.storage.deliveries import PENDING, unclaimed, update, waiting_since
from daemon.storage.schema import deliveries

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    Columns = Callable[[sa.FromClause], list[sa.ColumnElement[Any]]]

BEHIND_RUNNING = timedelta(milliseconds=500)

LINE = (deliveries.c.target, deliveries.c.incident_id, deliveries.c.id)

Line = tuple[str, str]  # a target and an incident, whose deliveries are sent in order


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """A request for one target: its order, and the most live and the most replayed deliveries."""

    order: Order
    live: int
    replayed: int = 0


@dataclass(frozen=True, slots=True)
class ClaimedRun:
    """Deliveries to send one after the other; ``after`` are ids that this daemon must finish first."""

    deliveries: tuple[Delivery, ...]
    after: frozenset[int] = frozenset()


def select_due(
    tx: sa.Connection,
    requests: Mapping[str, ClaimRequest],
    instance: str,
    now: datetime,
    *,
    replayed: bool,
    untried: bool = False,
) -> dict[str, list[ClaimedRun]]:
    """Return the runs that ``instance`` can send now, those that failed before last. Put off what must wait.

    ``untried`` selects only deliveries without attempts.
    """
    if not requests:
        return {}
    due = _due(tx, requests, now, replayed=replayed, untried=untried)
    lines: defaultdict[Line, list[Delivery]] = defaultdict(list)
    for each in due:
        lines[each.target, each.incident_id].append(each)
    last = {key: line[-1].id for key, line in lines.items() if requests[key[0]].order is not Order.NONE}
    blockers = _blockers(tx, last, due, replayed=replayed)
    runs: dict[str, list[ClaimedRun]] = {name: [] for name in requests}
    put_off: defaultdict[datetime, list[int]] = defaultdict(list)
    for key, line in lines.items():
        target = key[0]
        if requests[target].order is Order.NONE:
            runs[target] += [ClaimedRun((each,)) for each in line]
        elif key not in blockers:
            runs[target].append(ClaimedRun(tuple(line)))
        elif all(blocker.claimed_by == instance for blocker in blockers[key]):
            runs[target].append(ClaimedRun(tuple(line), frozenset(blocker.id for blocker in blockers[key])))
        else:
            first = blockers[key][0]
            until = first.next_attempt_at if first.claimed_by is None else now + BEHIND_RUNNING
            ready = tuple(each for each in line if each.id < first.id)
            if ready:
                runs[target].append(ClaimedRun(ready))
            put_off[until] += [each.id for each in line[len(ready) :]]
    for until, ids in put_off.items():
        update(tx, ids, next_attempt_at=until)
    return {name: sorted(each, key=lambda run: run.deliveries[0].attempts > 0) for name, each in runs.items()}


def _free_of_class(*, replayed: bool) -> tuple[sa.ColumnElement[bool], ...]:
    return *unclaimed(), _of_class(replayed=replayed)


def _of_class(*, replayed: bool) -> sa.ColumnElement[bool]:
    return deliveries.c.replay.is_not(None) if replayed else deliveries.c.replay.is_(None)


def _due(
    tx: sa.Connection, requests: Mapping[str, ClaimRequest], now: datetime, *, replayed: bool, untried: bool
) -> list[Delivery]:
    """Return the due deliveries of each target, in the order of their ids, whether or not they are blocked."""
    due: list[Delivery] = []
    sizes = {name: each.replayed if replayed else each.live for name, each in requests.items()}
    for limit in {size for size in sizes.values() if size}:
        names = [name for name, size in sizes.items() if size == limit]
        due += _due_for(tx, names, limit, now, replayed=replayed, untried=untried)
    return sorted(due, key=lambda each: each.id)


def _claimed(table: sa.FromClause) -> list[sa.ColumnElement[Any]]:
    """Return the columns of a Delivery."""
    columns = [table.c[name] for name in ("id", "message_id", "target", "incident_id", "attempts")]
    return [*columns, waiting_since(table).label("begun_at"), table.c.replay.is_not(None).label("replayed")]


def _blocking(table: sa.FromClause) -> list[sa.ColumnElement[Any]]:
    """Return the columns of a delivery that others wait for."""
    return [table.c[name] for name in ("id", "target", "incident_id", "claimed_by", "next_attempt_at")]


def _for_each(rows: sa.FromClause, columns: Columns, ids: sa.Select[Any], *, postgres: bool) -> sa.Select[Any]:
    """Return the query for columns of the deliveries that ``ids`` selects for each of the rows, which it refers to.

    Each row looks into an index: without statistics a planner may as well go through all pending deliveries, and
    through the rows for each of them.
    """
    if postgres:
        alone = ids.offset(0)  # PostgreSQL plans a query with an OFFSET by itself
        selected = alone.with_only_columns(*columns(deliveries)).correlate(rows).lateral()
        return sa.select(selected).select_from(rows.join(selected, sa.true()))
    chosen = deliveries.alias()  # SQLite has no LATERAL
    among = chosen.c.id.in_(ids.correlate(rows).scalar_subquery())
    return sa.select(*columns(chosen)).select_from(rows.join(chosen, among))


def _due_for(
    tx: sa.Connection, names: Collection[str], limit: int, now: datetime, *, replayed: bool, untried: bool
) -> list[Delivery]:
    query = _due_query(postgres=sql.is_postgres(tx), replayed=replayed, untried=untried)
    rows = sql.all_rows(tx, query, {"names": names, "now": now, "most": limit})
    return [Delivery._make(row) for row in rows]


@functools.cache
def _due_query(*, postgres: bool, replayed: bool, untried: bool) -> sa.Select[Any]:
    names = sql.value_table("names", postgres=postgres)
    mine = deliveries.c.target == names.c.value, *_free_of_class(replayed=replayed)
    first = sa.select(deliveries.c.id).where(*mine, deliveries.c.next_attempt_at <= sa.bindparam("now"))
    if untried:
        first = first.where(deliveries.c.attempts == 0)
    first = first.order_by(deliveries.c.next_attempt_at, deliveries.c.id).limit(sa.bindparam("most"))
    return _for_each(names, _claimed, first, postgres=postgres)


def _blockers(
    tx: sa.Connection, last: Mapping[Line, int], due: Sequence[Delivery], *, replayed: bool
) -> Mapping[Line, list[Any]]:
    """Return, for each target and incident, the pending deliveries before the last due one that are not due."""
    if not last:
        return {}
    rows = [{"target": target, "incident_id": incident, "id": number} for (target, incident), number in last.items()]
    lines = sql.row_values(tx, LINE, rows)
    query = _blockers_query(postgres=sql.is_postgres(tx), replayed=replayed)
    blockers: defaultdict[Line, list[Any]] = defaultdict(list)
    selected = tx.execute(query, {"lines": lines, "due": [each.id for each in due]}).all()
    for row in sorted(selected, key=lambda row: row.id):
        blockers[row.target, row.incident_id].append(row)
    return blockers


@functools.cache
def _blockers_query(*, postgres: bool, replayed: bool) -> sa.Select[Any]:
    line = sql.row_table("lines", LINE, postgres=postgres)
    due = sql.many("due", deliveries.c.id.type)
    # As _of_class, in other words: without statistics PostgreSQL would take an index with its words, such as
    # deliveries_due, and go through everything that is pending for the target. No replay has the number -1.
    replay = sa.func.coalesce(deliveries.c.replay, -1)
    earlier = (
        deliveries.c.target == line.c.target,
        deliveries.c.incident_id == line.c.incident_id,
        deliveries.c.id < line.c.id,
        deliveries.c.state == PENDING,
        (replay >= 0) if replayed else (replay < 0),
        ~sql.among_parameter(due, deliveries.c.id, postgres=postgres),
    )
    return _for_each(line, _blocking, sa.select(deliveries.c.id).where(*earlier), postgres=postgres)


def next_due(tx: sa.Connection, names: Collection[str], *, replayed: bool) -> dict[str, datetime | None]:
    """Return when each target has a delivery to claim, or None."""
    if not names:
        return {}
    query = _next_query(postgres=sql.is_postgres(tx), replayed=replayed)
    return {name: due for name, due in tx.execute(query, {"names": names}).all()}  # noqa: C416 - rows, for mypy


@functools.cache
def _next_query(*, postgres: bool, replayed: bool) -> sa.Select[Any]:
    table = sql.value_table("names", postgres=postgres)
    unclaimed = _free_of_class(replayed=replayed)
    first = sa.select(sa.func.min(deliveries.c.next_attempt_at)).where(deliveries.c.target == table.c.value, *unclaimed)
    return sa.select(table.c.value, first.correlate(table).scalar_subquery().label("due"))
