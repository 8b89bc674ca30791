"""Which deliveries may be sent now: what is due, and what has to wait for something else.

A delivery may be sent only if no earlier pending one of its target and incident is left out: that is how order is
kept, across replicas too. Replayed deliveries are a class of their own: ordered among themselves, they neither hold
up live ones nor wait for them. Nothing here says whether a target wants anything.
"""

from __future__ import annotations

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
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

BEHIND_RUNNING = timedelta(milliseconds=500)

Line = tuple[str, str]  # a target and an incident, whose deliveries wait for one another


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """What is asked for one target: its order, and how many live and how many replayed deliveries at most."""

    order: Order
    live: int
    replayed: int = 0


@dataclass(frozen=True, slots=True)
class ClaimedRun:
    """Deliveries that are sent one after the other; ``after`` are those that this daemon has to send before."""

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
    """The runs that ``instance`` can send now, those that failed before at the end; what must wait is put off.

    ``untried``: only what was never tried.
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
    return {name: sorted(got, key=lambda run: run.deliveries[0].attempts > 0) for name, got in runs.items()}


def _free_of_class(*, replayed: bool) -> tuple[sa.ColumnElement[bool], ...]:
    return *unclaimed(), _of_class(replayed=replayed)


def _of_class(*, replayed: bool) -> sa.ColumnElement[bool]:
    return deliveries.c.replay.is_not(None) if replayed else deliveries.c.replay.is_(None)


def _due(
    tx: sa.Connection, requests: Mapping[str, ClaimRequest], now: datetime, *, replayed: bool, untried: bool
) -> list[Delivery]:
    """The deliveries to claim for each target, unless something holds them up, by their ids."""
    found: list[Delivery] = []
    sizes = {name: each.replayed if replayed else each.live for name, each in requests.items()}
    for limit in {size for size in sizes.values() if size}:
        names = [name for name, size in sizes.items() if size == limit]
        found += _due_for(tx, names, limit, now, replayed=replayed, untried=untried)
    return sorted(found, key=lambda each: each.id)


def _claimed(table: sa.FromClause) -> list[sa.ColumnElement[Any]]:
    """The columns that make a Delivery."""
    columns = [table.c[name] for name in ("id", "message_id", "target", "incident_id", "attempts")]
    return [*columns, waiting_since(table).label("begun_at"), table.c.replay.is_not(None).label("replayed")]


def _due_for(
    tx: sa.Connection, names: Collection[str], limit: int, now: datetime, *, replayed: bool, untried: bool
) -> list[Delivery]:
    names_given = sql.value_table(tx, names)
    mine = deliveries.c.target == names_given.c.value, *_free_of_class(replayed=replayed)
    first = sa.select(*_claimed(deliveries)).where(*mine, deliveries.c.next_attempt_at <= now)
    if untried:
        first = first.where(deliveries.c.attempts == 0)
    first = first.order_by(deliveries.c.next_attempt_at, deliveries.c.id).limit(limit).correlate(names_given)
    if sql.is_postgres(tx):
        found = first.lateral()
        query = sa.select(found).select_from(names_given.join(found, sa.true()))
    else:  # which knows no LATERAL
        ids = first.with_only_columns(deliveries.c.id).scalar_subquery()
        chosen = deliveries.alias()
        query = sa.select(*_claimed(chosen)).select_from(names_given.join(chosen, chosen.c.id.in_(ids)))
    return [Delivery(*row) for row in tx.execute(query).all()]


def _blockers(
    tx: sa.Connection, last: Mapping[Line, int], due: Sequence[Delivery], *, replayed: bool
) -> Mapping[Line, list[Any]]:
    """Of each target and incident the pending deliveries before the last one due that are not due themselves."""
    if not last:
        return {}
    columns = [deliveries.c.target, deliveries.c.incident_id, deliveries.c.id]
    rows = [{"target": target, "incident_id": incident, "id": number} for (target, incident), number in last.items()]
    line = sql.row_table(tx, columns, rows)
    earlier = (
        deliveries.c.target == line.c.target,
        deliveries.c.incident_id == line.c.incident_id,
        deliveries.c.id < line.c.id,
        deliveries.c.state == PENDING,
        _of_class(replayed=replayed),
        ~sql.among(tx, deliveries.c.id, [each.id for each in due]),
    )
    query = sa.select(*columns, deliveries.c.claimed_by, deliveries.c.next_attempt_at).where(*earlier)
    found: defaultdict[Line, list[Any]] = defaultdict(list)
    for row in tx.execute(query.order_by(deliveries.c.id)).all():
        found[row.target, row.incident_id].append(row)
    return found


def next_due(tx: sa.Connection, names: Collection[str], *, replayed: bool) -> dict[str, datetime | None]:
    """When each target has something to claim."""
    if not names:
        return {}
    given = sql.value_table(tx, names)
    unclaimed = _free_of_class(replayed=replayed)
    first = sa.select(sa.func.min(deliveries.c.next_attempt_at)).where(deliveries.c.target == given.c.value, *unclaimed)
    query = sa.select(given.c.value, first.correlate(given).scalar_subquery().label("due"))
    return {row.value: row.due for row in tx.execute(query)}
