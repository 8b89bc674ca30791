"""The shared rate limiter: a sliding log of permits in the database, exact in every window and shared by replicas.

A permit is stamped with the latest time at which its call can end, and stamped again when the call does end.
PagerDuty counts the call somewhere between grant and stamp. No permit is granted while ``calls`` stamps lie within
the period, so no window of PagerDuty's clock contains more than ``calls`` either. The period is counted a sixtieth
longer, because PagerDuty's clock jitters.

``decide`` is pure; the other functions work on an open transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from daemon import errors
from daemon.model import CallPriority
from daemon.storage.schema import connections, permit_waits, permits

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from daemon.settings import Limits

LONGEST_CALL = timedelta(seconds=30)
LONGEST_BLOCK = timedelta(minutes=5)
JITTER = 61 / 60
LONGEST_SLEEP = timedelta(seconds=1)
WAIT_KEPT = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Permit:
    """A granted permit: its stamp and the priority of its call."""

    at: datetime
    priority: CallPriority


@dataclass(frozen=True, slots=True)
class Granted:
    """The call may be made now."""

    permit: int = 0


@dataclass(frozen=True, slots=True)
class Wait:
    """No call may be made now; ask again at ``until`` or earlier."""

    until: datetime


def span(limits: Limits) -> timedelta:
    """Return how long a permit counts after its stamp."""
    return limits.period * JITTER


def guaranteed(limits: Limits, priority: CallPriority) -> int:
    """Return how many permits of a window a priority gets while it waits, whatever the others request."""
    shares = {CallPriority.ACTION: 15, CallPriority.POLL: 3, CallPriority.RECONCILIATION: 15}
    return max(limits.calls // shares[priority], 1)


def kept_free(limits: Limits, priority: CallPriority) -> int:
    """Return how many permits of a window the others leave to a priority even while it does not wait.

    This keeps polls at their interval, and actions quick, when the other floods the budget.
    """
    match priority:
        case CallPriority.ACTION:
            return limits.calls // 15
        case CallPriority.POLL:
            return min(-(-span(limits) // limits.poll_interval), limits.calls // 3)
        case CallPriority.RECONCILIATION:
            return 0


def decide(
    granted: Sequence[Permit],
    waiting: Collection[CallPriority],
    priority: CallPriority,
    limits: Limits,
    now: datetime,
    blocked_until: datetime | None = None,
) -> Granted | Wait:
    """Decide whether a call of ``priority`` may be made now.

    ``granted`` are the permits so far, ``waiting`` the priorities of other calls that wait. Below its guaranteed
    share, a priority gets any free permit. Above it, it leaves to the others what they are guaranteed (or what is
    kept free for them while they do not wait), and yields to any higher priority that waits.
    """
    if blocked_until is not None and now < blocked_until <= now + LONGEST_BLOCK:
        return Wait(blocked_until)
    counted = [permit for permit in granted if permit.at > now - span(limits)]
    used = {each: sum(permit.priority is each for permit in counted) for each in CallPriority}
    free = limits.calls - len(counted)
    next_change = min((permit.at for permit in counted), default=now) + span(limits)
    if free <= 0:
        return Wait(next_change)
    if used[priority] < guaranteed(limits, priority):
        return Granted()
    if any(other < priority for other in waiting):
        return Wait(next_change)
    if priority is CallPriority.RECONCILIATION and used[priority] >= limits.calls // 2:
        return Wait(next_change)
    left_to_others = 0
    for other in CallPriority:
        if other is not priority:
            share = guaranteed(limits, other) if other in waiting else kept_free(limits, other)
            left_to_others += max(share - used[other], 0)
    return Granted() if free > left_to_others else Wait(next_change)


def lock(tx: sa.Connection, connection: str) -> datetime | None:
    """Lock the connection's row until the transaction ends; return until when its calls are blocked.

    Raises DatabaseError if the connection has no row.
    """
    mine = connections.c.name == connection
    row = tx.execute(sa.select(connections.c.blocked_until).where(mine).with_for_update()).one_or_none()
    if row is None:
        message = f"the connection {connection} has no row in the database yet"
        raise errors.DatabaseError(message)
    blocked_until: datetime | None = row.blocked_until
    return blocked_until


def take(
    tx: sa.Connection,
    connection: str,
    limits: Limits,
    priority: CallPriority,
    instance: str,
    now: datetime,
    room: int = 1,
) -> Granted | Wait:
    """Take a permit if one may be granted now; otherwise record that a call of this priority waits.

    ``room`` is how many calls must be possible now, including this one: the others follow at once. Where replicas
    share the connection, ``now`` must be read after ``lock``.
    """
    blocked_until = lock(tx, connection)
    mine = permits.c.connection == connection
    tx.execute(permits.delete().where(mine, permits.c.at <= now - span(limits) * 2))
    # A stamp further ahead than a call can last dates from before the clock was set back.
    tx.execute(permits.update().where(mine, permits.c.at > now + LONGEST_CALL).values(at=now))
    granted = [Permit(row.at, CallPriority(row.priority)) for row in tx.execute(sa.select(permits).where(mine))]
    granted += [Permit(now, priority)] * (min(room, limits.calls) - 1)
    outcome = decide(granted, _waiting(tx, connection, priority, instance, now), priority, limits, now, blocked_until)
    stop_waiting(tx, connection, priority, instance)
    if isinstance(outcome, Wait):
        waiter = {"connection": connection, "priority": priority.value, "instance": instance}
        expires_at = min(outcome.until, now + LONGEST_SLEEP) + WAIT_KEPT
        tx.execute(permit_waits.insert().values(**waiter, expires_at=expires_at))
        return outcome
    stamp = {"connection": connection, "at": now + LONGEST_CALL, "priority": priority.value}
    result = tx.execute(permits.insert().values(stamp).returning(permits.c.id))
    return Granted(int(result.scalar_one()))


def _waiting(
    tx: sa.Connection, connection: str, priority: CallPriority, instance: str, now: datetime
) -> set[CallPriority]:
    """Return the priorities for which others wait on a connection."""
    rows = tx.execute(
        sa.select(permit_waits.c.priority, permit_waits.c.instance).where(
            permit_waits.c.connection == connection,
            permit_waits.c.expires_at > now,
            permit_waits.c.expires_at <= now + LONGEST_SLEEP + WAIT_KEPT,
        )
    )
    return {CallPriority(row.priority) for row in rows if (row.priority, row.instance) != (priority.value, instance)}


def stop_waiting(tx: sa.Connection, connection: str, priority: CallPriority, instance: str) -> None:
    """Remove the record that a call of this priority waits."""
    waits = permit_waits.c
    mine = (waits.connection == connection) & (waits.priority == priority.value) & (waits.instance == instance)
    tx.execute(permit_waits.delete().where(mine))


def finish(tx: sa.Connection, permit: int, now: datetime) -> None:
    """Stamp a permit with the time at which its call ended."""
    tx.execute(permits.update().where(permits.c.id == permit).values(at=now))


def block(tx: sa.Connection, connection: str, until: datetime, now: datetime) -> None:
    """Block a connection's calls until then, five minutes at most, because PagerDuty answered 429."""
    until = min(until, now + LONGEST_BLOCK)
    longer = sa.or_(
        connections.c.blocked_until.is_(None),
        connections.c.blocked_until < until,
        connections.c.blocked_until > now + LONGEST_BLOCK,
    )
    tx.execute(connections.update().where(connections.c.name == connection, longer).values(blocked_until=until))


def used(tx: sa.Connection, connection: str, limits: Limits, now: datetime) -> int:
    """Return how many permits of the current window are used."""
    counting = (permits.c.connection == connection) & (permits.c.at > now - span(limits))
    return int(tx.execute(sa.select(sa.func.count()).select_from(permits).where(counting)).scalar_one())
