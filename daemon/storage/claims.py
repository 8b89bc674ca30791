"""The claims of deliveries by the daemon that sends them.

A claim is ``claimed_by``, the id of the daemon. A paused target gets nothing; a failing one gets one delivery at a
time, as a probe. Deliveries that failed before come last, so that they do not hold up the others.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from daemon.model import TargetState
from daemon.storage import schema, sql, targets
from daemon.storage.deliveries import PENDING, update
from daemon.storage.due import BEHIND_RUNNING, ClaimedRun, ClaimRequest, next_due, select_due
from daemon.storage.probes import EARLY, early_at, probes
from daemon.storage.schema import deliveries, instances
from daemon.storage.targets import PROBE_LEASE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

BUSY = timedelta(milliseconds=100)


@dataclass(frozen=True, slots=True)
class TargetClaim:
    """The deliveries that a daemon claimed for one target.

    ``next_due`` and ``next_replayed`` are the times when there may be more live or replayed ones; None means that none
    are pending. ``state`` is None while another daemon claims for the target.
    """

    runs: tuple[ClaimedRun, ...] = ()
    next_due: datetime | None = None
    next_replayed: datetime | None = None
    state: TargetState | None = field(default_factory=TargetState)


def claim(
    tx: sa.Connection, requests: Mapping[str, ClaimRequest], instance: str, now: datetime
) -> dict[str, TargetClaim]:
    """Claim the deliveries that are due for these targets, the oldest first.

    Replicas claim for a target one after the other; the second one tries again soon. A delivery behind one that waits
    for a retry is put off until that retry, so that a long backlog is not read repeatedly. A delivery behind others
    that ``instance`` is already sending is claimed too.
    """
    states = _lock(tx, requests)
    claims = {name: TargetClaim(next_due=now + BUSY, state=None) for name in requests.keys() - states.keys()}
    claims |= {name: TargetClaim(state=state) for name, state in states.items() if state.paused_at is not None}
    running = {name: state for name, state in states.items() if state.paused_at is None}
    ready = {name: requests[name] for name, state in running.items() if not state.must_wait(now)}
    failing = {name: each for name, each in ready.items() if running[name].failing_since is not None}

    replays = next_due(tx, running, replayed=True)
    runs = _runs(tx, {name: ready[name] for name in ready.keys() - failing.keys()}, replays, instance, now)
    runs |= probes(tx, failing, running, instance, now)
    ids = [each.id for target_runs in runs.values() for run in target_runs for each in run.deliveries]
    if ids:
        tx.execute(_claiming(postgres=sql.is_postgres(tx)), {"ids": ids, "instance": instance})

    live = next_due(tx, running, replayed=False)
    if any(_is_due(at, now) for at in replays.values()):  # some were claimed or put off
        replays = next_due(tx, running, replayed=True)
    for name, state in running.items():
        target_runs = tuple(runs.get(name, ()))
        due, replay_due = (_next(at, state, now, claimed=bool(target_runs)) for at in (live[name], replays[name]))
        leased = replace(state, probe_at=now + PROBE_LEASE) if target_runs and name in failing else state
        claims[name] = TargetClaim(target_runs, due, replay_due, leased)
    return claims


def _lock(tx: sa.Connection, names: Collection[str]) -> dict[str, TargetState]:
    """Lock the targets until the transaction ends; return their states, without those that others hold."""
    rows = tx.execute(_locking(postgres=sql.is_postgres(tx)), {"names": names}).all()
    return {row.name: targets.state_of(row) for row in rows}


@functools.cache
def _locking(*, postgres: bool) -> sa.Select[Any]:
    name = schema.targets.c.name
    query = sa.select(schema.targets).where(sql.among_parameter(sql.many("names", name.type), name, postgres=postgres))
    return query.with_for_update(skip_locked=True)


@functools.cache
def _claiming(*, postgres: bool) -> sa.Update:
    ids = sql.among_parameter(sql.many("ids", deliveries.c.id.type), deliveries.c.id, postgres=postgres)
    return deliveries.update().where(ids).values(claimed_by=sa.bindparam("instance"))


def _is_due(at: datetime | None, now: datetime) -> bool:
    return at is not None and at <= now


def _runs(
    tx: sa.Connection,
    requests: Mapping[str, ClaimRequest],
    replays: Mapping[str, datetime | None],
    instance: str,
    now: datetime,
) -> dict[str, list[ClaimedRun]]:
    """Return the runs that are due for healthy targets: live deliveries, and replayed ones after them."""
    runs = select_due(tx, requests, instance, now, replayed=False)
    replaying = {name: each for name, each in requests.items() if each.replayed and _is_due(replays[name], now)}
    for name, more in select_due(tx, replaying, instance, now, replayed=True).items():
        runs[name] += more
    return runs


def _next(due: datetime | None, state: TargetState, now: datetime, *, claimed: bool) -> datetime | None:
    """Return when to claim for a target again, or None if nothing is pending."""
    must_wait = state.must_wait(now)
    if due is None or (state.failing_since is None and not must_wait):
        return due
    # A ready failing target with due deliveries got no probe, because they are behind deliveries being sent.
    ready = state.ready_at if must_wait else None
    earliest = ready or now + (PROBE_LEASE if claimed else BEHIND_RUNNING)
    if state.failing_since is not None:
        early = early_at(state, now)
        due = min(due, early if early > now else now + EARLY)
    return max(due, earliest)


def give_back(tx: sa.Connection, ids: Collection[int], instance: str, until: datetime | None = None) -> None:
    """Release deliveries that were claimed and not tried; ``until`` puts them off."""
    values: dict[str, Any] = {"claimed_by": None}
    if until is not None:
        values["next_attempt_at"] = until
    update(tx, ids, deliveries.c.claimed_by == instance, **values)


def release(tx: sa.Connection, dead: Collection[str]) -> None:
    """Release every delivery that dead daemons had claimed."""
    for part in sql.chunks(dead):
        held = (deliveries.c.state == PENDING) & deliveries.c.claimed_by.in_(part)
        tx.execute(deliveries.update().where(held).values(claimed_by=None))


def unknown_claimants(tx: sa.Connection) -> list[str]:
    """Return the claimants that have no row: daemons that claimed after they were reaped, and then were killed."""
    held = deliveries.c.state == PENDING, deliveries.c.claimed_by.is_not(None)
    unknown = deliveries.c.claimed_by.not_in(sa.select(instances.c.id))
    return list(tx.execute(sa.select(deliveries.c.claimed_by).where(*held, unknown).distinct()).scalars())
