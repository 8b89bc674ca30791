"""Which delivery a failing target gets, to try whether it is back: one at a time, whichever daemon sends it."""

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

EARLY = timedelta(minutes=4)  # so long after a probe could have been made, what is not due yet may be it


def probes(
    tx: sa.Connection,
    requests: Mapping[str, ClaimRequest],
    states: Mapping[str, TargetState],
    instance: str,
    now: datetime,
) -> dict[str, list[ClaimedRun]]:
    """For each of these targets, whose rows are locked, one delivery, if there is one; nobody else has another."""
    found = _first(tx, requests, instance, now)
    long_idle = {
        name: each for name, each in requests.items() if name not in found and early_at(states[name], now) <= now
    }
    if long_idle:
        _bring_forward(tx, long_idle, now)
        found |= _first(tx, long_idle, instance, now)
    if found:
        leased = targets.update().where(sql.among(tx, targets.c.name, found))
        tx.execute(leased.values(probe_at=now + PROBE_LEASE))
    return found


def early_at(state: TargetState, now: datetime) -> datetime:
    """Return when a failing target is probed with a delivery that is not due yet."""
    return now if state.ready_at is None else state.ready_at + EARLY


def _first(
    tx: sa.Connection, requests: Mapping[str, ClaimRequest], instance: str, now: datetime
) -> dict[str, list[ClaimedRun]]:
    """For each of these targets one delivery, the first that waits for nothing, if there is one.

    One that was never tried, if possible: what failed may be what the target never takes.
    """
    found: dict[str, list[ClaimedRun]] = {}
    for replayed, untried in ((False, True), (False, False), (True, True), (True, False)):
        left = {name: each for name, each in requests.items() if name not in found and (each.replayed or not replayed)}
        if left:
            for name, runs in select_due(tx, left, instance, now, replayed=replayed, untried=untried).items():
                if first := next((run for run in runs if not run.after), None):
                    found[name] = [ClaimedRun(first.deliveries[:1])]
    return found


def _bring_forward(tx: sa.Connection, names: Collection[str], now: datetime) -> None:
    """Make for each target one delivery due, the one that will be due first, unless it was refused for its own sake."""
    names_given = sql.value_table(tx, names)
    waits = deliveries.alias()
    theirs = waits.c.target == names_given.c.value, *unclaimed(waits), ~message_rejected(waits)
    first = sa.select(waits.c.id).where(*theirs).order_by(waits.c.next_attempt_at, waits.c.id).limit(1)
    chosen = sa.select(first.correlate(names_given).scalar_subquery()).select_from(names_given)
    later = deliveries.c.next_attempt_at > now
    tx.execute(deliveries.update().where(deliveries.c.id.in_(chosen), later).values(next_attempt_at=now))
