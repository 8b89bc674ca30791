"""Which deliveries a daemon sends next.

A claim is ``claimed_by``, the id of the daemon that sends. A paused target gets nothing; one that is failing gets one
delivery at a time, to probe it. What has failed before comes after what has not: a target that takes all but some goes
on with the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from daemon.storage import sql
from daemon.storage.deliveries import PENDING, update
from daemon.storage.due import BEHIND_RUNNING, Chain, Wanted, next_due, take
from daemon.storage.probes import EARLY, early_at, probes
from daemon.storage.schema import deliveries, instances, targets
from daemon.storage.targets import PROBE_LEASE, Standing, ready_at

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

BUSY = timedelta(milliseconds=100)


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
    claims |= {name: Claim(standing=_standing(row, now)) for name, row in held.items() if row.paused_at is not None}
    running = {name: row for name, row in held.items() if row.paused_at is None}
    ready = {name: wanted[name] for name, row in running.items() if not _waits(row, now)}
    failing = {name: each for name, each in ready.items() if running[name].failing_since is not None}

    replays = next_due(tx, running, replayed=True)
    chains = _chains(tx, {name: ready[name] for name in ready.keys() - failing.keys()}, replays, instance, now)
    chains |= probes(tx, failing, running, instance, now)
    ids = [each.id for got in chains.values() for chain in got for each in chain.deliveries]
    if ids:
        update(tx, ids, claimed_by=instance)

    live = next_due(tx, running, replayed=False)
    if any(_is_due(at, now) for at in replays.values()):  # some were claimed, or put off
        replays = next_due(tx, running, replayed=True)
    for name, row in running.items():
        got = tuple(chains.get(name, ()))
        due, replay_due = (_next(at, row, now, took=bool(got)) for at in (live[name], replays[name]))
        claims[name] = Claim(got, due, replay_due, _standing(row, now))
    return claims


def _lock(tx: sa.Connection, names: Collection[str]) -> dict[str, Any]:
    """The targets' rows, ours until the transaction ends; somebody else holds those that are missing."""
    asked = sa.select(targets).where(sql.among(tx, targets.c.name, names))
    return {row.name: row for row in tx.execute(asked.with_for_update(skip_locked=True))}


def _is_due(at: datetime | None, now: datetime) -> bool:
    return at is not None and at <= now


def _waits(row: Any, now: datetime) -> bool:  # noqa: ANN401 - a row of the targets table
    at = ready_at(row)
    return at is not None and now < at


def _standing(row: Any, now: datetime) -> Standing:  # noqa: ANN401 - a row of the targets table
    until = row.blocked_until if row.blocked_until is not None and now < row.blocked_until else None
    return Standing(row.paused_at is not None, row.failing_since, row.probes, _waits(row, now), until)


def _chains(
    tx: sa.Connection,
    wanted: Mapping[str, Wanted],
    replays: Mapping[str, datetime | None],
    instance: str,
    now: datetime,
) -> dict[str, list[Chain]]:
    """What is due for targets that are well: live deliveries, and replayed ones behind them."""
    chains = take(tx, wanted, instance, now, replayed=False)
    replaying = {name: each for name, each in wanted.items() if each.replayed and _is_due(replays[name], now)}
    for name, more in take(tx, replaying, instance, now, replayed=True).items():
        chains[name] += more
    return chains


def _next(due: datetime | None, row: Any, now: datetime, *, took: bool) -> datetime | None:  # noqa: ANN401 - a row
    """When to claim for a target again, for what is due then; None: nothing is pending."""
    if due is None or (row.failing_since is None and not _waits(row, now)):
        return due
    # What is due and no probe is behind what is on its way.
    ready = ready_at(row)
    earliest = ready if ready is not None and now < ready else now + (PROBE_LEASE if took else BEHIND_RUNNING)
    if row.failing_since is not None:
        early = early_at(ready_at(row), now)
        due = min(due, early if early > now else now + EARLY)
    return max(due, earliest)


def give_back(tx: sa.Connection, ids: Collection[int], instance: str, until: datetime | None = None) -> None:
    """Give back deliveries that were claimed and not tried; ``until`` puts them off."""
    values: dict[str, Any] = {"claimed_by": None}
    if until is not None:
        values["next_attempt_at"] = until
    update(tx, ids, deliveries.c.claimed_by == instance, **values)


def release(tx: sa.Connection, dead: Collection[str]) -> None:
    """Give back everything that dead daemons had claimed."""
    for part in sql.chunks(dead):
        held = (deliveries.c.state == PENDING) & deliveries.c.claimed_by.in_(part)
        tx.execute(deliveries.update().where(held).values(claimed_by=None))


def unknown_claimants(tx: sa.Connection) -> list[str]:
    """Who holds deliveries and is no daemon that anybody knows: one that was killed while it was taken for dead."""
    held = deliveries.c.state == PENDING, deliveries.c.claimed_by.is_not(None)
    unknown = deliveries.c.claimed_by.not_in(sa.select(instances.c.id))
    return list(tx.execute(sa.select(deliveries.c.claimed_by).where(*held, unknown).distinct()).scalars())
