"""The probes of failing targets: one delivery at a time, whichever daemon sends it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from daemon.storage import sql
from daemon.storage.deliveries import message_rejected, unclaimed
from daemon.storage.due import ClaimedRun, select_due
from daemon.storage.schema import deliveries, targets
from daemon.storage.targets import PROBE_LEASE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from daemon.model import TargetState
    from daemon.storage.due import ClaimRequest

EARLY = timedelta(minutes=4)  # when a probe is overdue by this much, a delivery that is not due yet may be used


def probes(
    tx: sa.Connection,
    requests: Mapping[str, ClaimRequest],
    states: Mapping[str, TargetState],
    instance: str,
    now: datetime,
) -> dict[str, list[ClaimedRun]]:
    """Return one delivery as a probe for each of these targets, if there is one, and lease the probe.

    The caller holds the targets' rows, so that no other daemon probes them.
    """
    selected = _first(tx, requests, instance, now)
    long_idle = {
        name: each for name, each in requests.items() if name not in selected and early_at(states[name], now) <= now
    }
    if long_idle:
        _bring_forward(tx, long_idle, now)
        selected |= _first(tx, long_idle, instance, now)
    if selected:
        leased = targets.update().where(sql.among(tx, targets.c.name, selected))
        tx.execute(leased.values(probe_at=now + PROBE_LEASE))
    return selected


def early_at(state: TargetState, now: datetime) -> datetime:
    """Return when a failing target is probed with a delivery that is not due yet."""
    return now if state.ready_at is None else state.ready_at + EARLY


def _first(
    tx: sa.Connection, requests: Mapping[str, ClaimRequest], instance: str, now: datetime
) -> dict[str, list[ClaimedRun]]:
    """Return the first delivery that need not wait for others of each of these targets, if there is one.

    Deliveries without attempts are preferred: the target may never accept one that failed.
    """
    selected: dict[str, list[ClaimedRun]] = {}
    for replayed, untried in ((False, True), (False, False), (True, True), (True, False)):
        remaining = {
            name: each for name, each in requests.items() if name not in selected and (each.replayed or not replayed)
        }
        if remaining:
            for name, runs in select_due(tx, remaining, instance, now, replayed=replayed, untried=untried).items():
                if first := next((run for run in runs if not run.after), None):
                    selected[name] = [ClaimedRun(first.deliveries[:1])]
    return selected


def _bring_forward(tx: sa.Connection, names: Collection[str], now: datetime) -> None:
    """Make one delivery of each target due: the next live or else replayed one whose message was not rejected."""
    name_table = sql.value_table("names", postgres=sql.is_postgres(tx))
    waits = deliveries.alias()
    theirs = waits.c.target == name_table.c.value, *unclaimed(waits), ~message_rejected(waits)
    first = sa.select(waits.c.id).order_by(waits.c.next_attempt_at, waits.c.id).limit(1).correlate(name_table)
    of_class = waits.c.replay.is_(None), waits.c.replay.is_not(None)  # each has an index in this order
    chosen = sa.select(sa.func.coalesce(*(first.where(*theirs, each).scalar_subquery() for each in of_class)))
    chosen = chosen.select_from(name_table)
    later = deliveries.c.next_attempt_at > now
    statement = deliveries.update().where(deliveries.c.id.in_(chosen), later).values(next_attempt_at=now)
    tx.execute(statement, {"names": names})
