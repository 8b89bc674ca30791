"""Which deliveries a daemon sends next.

A claim is ``claimed_by``, the id of the daemon that sends. A delivery is claimed only if no
earlier pending delivery of its target and incident is left out: that is how order is kept,
across replicas too. Replayed deliveries are a class of their own: ordered among themselves,
they neither hold up live ones nor wait for them. A paused target gets nothing; one that is
failing gets one delivery at a time, to probe it. What has failed before comes after what has
not: a target that takes all but some goes on with the others.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from daemon import backoff, bulk
from daemon.model import Delivery, Order
from daemon.queue.rows import PENDING, update
from daemon.queue.standing import PROBE_LEASE, Standing
from daemon.schema import deliveries, targets

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

BEHIND_RUNNING = timedelta(milliseconds=500)
BUSY = timedelta(milliseconds=100)
EARLY = timedelta(minutes=4)  # so long after a probe could have been made, what is not due yet may be it

Line = tuple[str, str]  # a target and an incident, whose deliveries wait for one another


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for one target: its order, and how many live and how many replayed deliveries at most."""

    order: Order
    live: int
    replayed: int = 0


@dataclass(frozen=True, slots=True)
class Chain:
    """Deliveries that are sent one after the other; ``after`` are those that this daemon has to send before."""

    deliveries: tuple[Delivery, ...]
    after: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Claim:
    """What one target got to send.

    ``next_due`` and ``next_replayed`` are when there may be more, live or replayed: None if
    nothing is pending. ``standing`` is None while somebody else claims for the target.
    """

    chains: tuple[Chain, ...] = ()
    next_due: datetime | None = None
    next_replayed: datetime | None = None
    standing: Standing | None = field(default_factory=Standing)


def claim(tx: sa.Connection, wanted: Mapping[str, Wanted], instance: str, now: datetime) -> dict[str, Claim]:
    """Claim what is due for these targets, for each the oldest first.

    Replicas claim for one target one after the other; who comes second tries again soon.
    A delivery behind one that waits for its next try is put off until then, so that a
    long backlog behind it is not looked at again and again. One that is only behind what
    ``instance`` sends already is claimed as well.
    """
    held = _lock(tx, wanted)
    claims = {name: Claim(next_due=now + BUSY, standing=None) for name in wanted.keys() - held.keys()}
    claims |= {name: Claim(standing=_standing(row)) for name, row in held.items() if row.paused_at is not None}
    running = {name: row for name, row in held.items() if row.paused_at is None}
    probing = {name for name, row in running.items() if row.failing_since is not None}
    waiting = {name for name, row in running.items() if row.probe_at is not None and now < row.probe_at}
    taking = {name: wanted[name] for name in running.keys() - waiting}
    sending = {name: each for name, each in taking.items() if name not in probing}

    chains = _take(tx, sending, instance, now, replayed=False)
    replays = _next_due(tx, running, replayed=True)
    idle = {name: each for name, each in sending.items() if each.replayed and _is_due(replays[name], now)}
    if idle:
        for name, more in _take(tx, idle, instance, now, replayed=True).items():
            chains[name] += more
    probes = _probes(tx, {name: each for name, each in taking.items() if name in probing}, instance, now)
    early = {name: _early(running[name].probe_at, now) for name in probing}
    long_idle = {
        name: wanted[name] for name, at in early.items() if name in taking and name not in probes and at <= now
    }
    if long_idle:
        _bring_forward(tx, long_idle, now)
        probes |= _probes(tx, long_idle, instance, now)
        early |= dict.fromkeys(long_idle, now + EARLY)
    chains |= probes
    _update(tx, [each.id for got in chains.values() for chain in got for each in chain.deliveries], instance)
    if probes:
        leased = targets.update().where(bulk.among(tx, targets.c.name, probes))
        tx.execute(leased.values(probe_at=now + PROBE_LEASE))

    live = _next_due(tx, running, replayed=False)
    if idle or probes:
        replays = _next_due(tx, running, replayed=True)
    for name, row in running.items():
        earliest = row.probe_at if name in waiting else None
        if name in probing - waiting:  # what is due and no probe is behind what is on its way
            earliest = now + (PROBE_LEASE if name in probes else BEHIND_RUNNING)
        due, replay_due = (_between(each[name], earliest, early.get(name)) for each in (live, replays))
        claims[name] = Claim(tuple(chains.get(name, ())), due, replay_due, _standing(row, waits=name in waiting))
    return claims


def _standing(row: Any, *, waits: bool = False) -> Standing:  # noqa: ANN401 - a row of the targets table
    return Standing(row.paused_at is not None, row.failing_since, row.probes, waits)


def _is_due(due: datetime | None, now: datetime) -> bool:
    return due is not None and due <= now


def _between(due: datetime | None, earliest: datetime | None, latest: datetime | None) -> datetime | None:
    """The time at which something is due, if something is, within these bounds."""
    if due is None:
        return None
    due = due if latest is None else min(due, latest)
    return due if earliest is None else max(due, earliest)


def _early(probe_at: datetime | None, now: datetime) -> datetime:
    """When a failing target is probed with something that is not due yet."""
    return now if probe_at is None else probe_at + EARLY


def _bring_forward(tx: sa.Connection, names: Collection[str], now: datetime) -> None:
    """Make for each target one delivery due, the one that will be due first, unless it was refused for its own sake."""
    names_given = bulk.texts(tx, names)
    waits = deliveries.alias()
    theirs = waits.c.target == names_given.c.value, waits.c.state == PENDING, waits.c.claimed_by.is_(None)
    taken = sa.func.coalesce(waits.c.last_status, 0).not_in(backoff.REFUSALS)
    first = sa.select(waits.c.id).where(*theirs, taken).order_by(waits.c.next_attempt_at, waits.c.id).limit(1)
    chosen = sa.select(first.correlate(names_given).scalar_subquery()).select_from(names_given)
    later = deliveries.c.next_attempt_at > now
    tx.execute(deliveries.update().where(deliveries.c.id.in_(chosen), later).values(next_attempt_at=now))


def _probes(tx: sa.Connection, wanted: Mapping[str, Wanted], instance: str, now: datetime) -> dict[str, list[Chain]]:
    """For each of these targets one delivery, the first that waits for nothing, if there is one.

    One that was never tried, if possible: what failed may be what the target never takes.
    """
    found: dict[str, list[Chain]] = {}
    for replayed, untried in ((False, True), (False, False), (True, True), (True, False)):
        left = {name: each for name, each in wanted.items() if name not in found and (each.replayed or not replayed)}
        if left:
            for name, chains in _take(tx, left, instance, now, replayed=replayed, untried=untried).items():
                if first := next((chain for chain in chains if not chain.after), None):
                    found[name] = [Chain(first.deliveries[:1])]
    return found


def _lock(tx: sa.Connection, names: Collection[str]) -> dict[str, Any]:
    """The targets' rows, ours until the transaction ends; somebody else holds those that are missing."""
    columns = targets.c.name, targets.c.paused_at, targets.c.failing_since, targets.c.probe_at, targets.c.probes
    asked = sa.select(*columns).where(bulk.among(tx, targets.c.name, names))
    return {row.name: row for row in tx.execute(asked.with_for_update(skip_locked=True))}


def _take(
    tx: sa.Connection,
    wanted: Mapping[str, Wanted],
    instance: str,
    now: datetime,
    *,
    replayed: bool,
    untried: bool = False,
) -> dict[str, list[Chain]]:
    """The chains that can be sent now, those that failed before at the end; what must wait for others is put off."""
    if not wanted:
        return {}
    due = _due(tx, wanted, now, replayed=replayed, untried=untried)
    lines: defaultdict[Line, list[Delivery]] = defaultdict(list)
    for each in due:
        lines[each.target, each.incident_id].append(each)
    last = {key: line[-1].id for key, line in lines.items() if wanted[key[0]].order is not Order.NONE}
    blockers = _blockers(tx, last, due, replayed=replayed)
    chains: dict[str, list[Chain]] = {name: [] for name in wanted}
    put_off: defaultdict[datetime, list[int]] = defaultdict(list)
    for key, line in lines.items():
        target = key[0]
        if wanted[target].order is Order.NONE:
            chains[target] += [Chain((each,)) for each in line]
        elif key not in blockers:
            chains[target].append(Chain(tuple(line)))
        elif all(blocker.claimed_by == instance for blocker in blockers[key]):
            chains[target].append(Chain(tuple(line), frozenset(blocker.id for blocker in blockers[key])))
        else:
            first = blockers[key][0]
            until = first.next_attempt_at if first.claimed_by is None else now + BEHIND_RUNNING
            ready = tuple(each for each in line if each.id < first.id)
            if ready:
                chains[target].append(Chain(ready))
            put_off[until] += [each.id for each in line[len(ready) :]]
    for until, ids in put_off.items():
        update(tx, ids, next_attempt_at=until)
    return {name: sorted(got, key=lambda chain: chain.deliveries[0].attempts > 0) for name, got in chains.items()}


def _update(tx: sa.Connection, ids: Collection[int], instance: str) -> None:
    if ids:
        update(tx, ids, claimed_by=instance)


def _free(*, replayed: bool) -> tuple[sa.ColumnElement[bool], ...]:
    """What nobody has claimed: the conditions of the partial indexes."""
    return deliveries.c.state == PENDING, deliveries.c.claimed_by.is_(None), _of_class(replayed=replayed)


def _of_class(*, replayed: bool) -> sa.ColumnElement[bool]:
    return deliveries.c.replay.is_not(None) if replayed else deliveries.c.replay.is_(None)


def _due(
    tx: sa.Connection, wanted: Mapping[str, Wanted], now: datetime, *, replayed: bool, untried: bool
) -> list[Delivery]:
    """The deliveries to claim for each target, unless something holds them up, by their ids."""
    found: list[Delivery] = []
    sizes = {name: each.replayed if replayed else each.live for name, each in wanted.items()}
    for limit in {size for size in sizes.values() if size}:
        names = [name for name, size in sizes.items() if size == limit]
        found += _due_for(tx, names, limit, now, replayed=replayed, untried=untried)
    return sorted(found, key=lambda each: each.id)


def _claimed(table: sa.FromClause) -> list[sa.ColumnElement[Any]]:
    """The columns that make a Delivery."""
    columns = [table.c[name] for name in ("id", "message_id", "target", "incident_id", "attempts")]
    begun = sa.func.coalesce(table.c.renewed_at, table.c.created_at).label("begun_at")
    return [*columns, begun, table.c.replay.is_not(None).label("replayed")]


def _due_for(
    tx: sa.Connection, names: Collection[str], limit: int, now: datetime, *, replayed: bool, untried: bool
) -> list[Delivery]:
    names_given = bulk.texts(tx, names)
    mine = deliveries.c.target == names_given.c.value, *_free(replayed=replayed)
    first = sa.select(*_claimed(deliveries)).where(*mine, deliveries.c.next_attempt_at <= now)
    if untried:
        first = first.where(deliveries.c.attempts == 0)
    first = first.order_by(deliveries.c.next_attempt_at, deliveries.c.id).limit(limit).correlate(names_given)
    if bulk.is_postgres(tx):
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
    line = bulk.records(tx, columns, rows)
    earlier = (
        deliveries.c.target == line.c.target,
        deliveries.c.incident_id == line.c.incident_id,
        deliveries.c.id < line.c.id,
        deliveries.c.state == PENDING,
        _of_class(replayed=replayed),
        ~bulk.among(tx, deliveries.c.id, [each.id for each in due]),
    )
    query = sa.select(*columns, deliveries.c.claimed_by, deliveries.c.next_attempt_at).where(*earlier)
    found: defaultdict[Line, list[Any]] = defaultdict(list)
    for row in tx.execute(query.order_by(deliveries.c.id)).all():
        found[row.target, row.incident_id].append(row)
    return found


def _next_due(tx: sa.Connection, names: Collection[str], *, replayed: bool) -> dict[str, datetime | None]:
    """When each target has something to claim."""
    if not names:
        return {}
    given = bulk.texts(tx, names)
    free = _free(replayed=replayed)
    first = sa.select(sa.func.min(deliveries.c.next_attempt_at)).where(deliveries.c.target == given.c.value, *free)
    query = sa.select(given.c.value, first.correlate(given).scalar_subquery().label("due"))
    return {row.value: row.due for row in tx.execute(query)}
