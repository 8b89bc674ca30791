"""The shared rate limiter: a sliding log of permits in the database, exact in every window, shared by replicas.

A permit is stamped with the latest time at which its call can end, and stamped anew when
it does end. PagerDuty counts the call somewhere between grant and stamp; no permit is
given while ``calls`` stamps lie within the period. Hence no window of PagerDuty's clock
holds more than ``calls`` either. The period is counted a sixtieth longer, for its clock's jitter.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Counter

from daemon import errors
from daemon.model import Priority
from daemon.storage.schema import connections, permit_waits, permits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence

    from daemon.settings import Limits
    from daemon.storage.database import Database

LONGEST_CALL = timedelta(seconds=30)
LONGEST_BLOCK = timedelta(minutes=5)
DEFAULT_BLOCK = timedelta(seconds=60)
JITTER = 61 / 60
LONGEST_SLEEP = timedelta(seconds=1)
WAIT_KEPT = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Permit:
    """One given permit: its stamp and whom it was given to."""

    at: datetime
    priority: Priority


@dataclass(frozen=True, slots=True)
class Granted:
    """The call may be made now."""

    permit: int = 0


@dataclass(frozen=True, slots=True)
class Wait:
    """No call now; ask again at ``until``, or earlier."""

    until: datetime


def span(limits: Limits) -> timedelta:
    """How long a permit counts after its stamp."""
    return limits.period * JITTER


def guaranteed(limits: Limits, priority: Priority) -> int:
    """How many permits of a window a class gets while it waits, whatever the others want."""
    shares = {Priority.ACTION: 15, Priority.POLL: 3, Priority.RECONCILIATION: 15}
    return max(limits.calls // shares[priority], 1)


def kept_free(limits: Limits, priority: Priority) -> int:
    """How many permits of a window others leave to a class even while it does not wait.

    That is what keeps polls at their interval, and an action quick, under a flood of the other.
    """
    match priority:
        case Priority.ACTION:
            return limits.calls // 15
        case Priority.POLL:
            return min(-(-span(limits) // limits.poll_interval), limits.calls // 3)
        case Priority.RECONCILIATION:
            return 0


def decide(
    given: Sequence[Permit],
    waiting: Collection[Priority],
    priority: Priority,
    limits: Limits,
    now: datetime,
    blocked_until: datetime | None = None,
) -> Granted | Wait:
    """Whether a call of ``priority`` may be made now.

    ``given`` are the permits so far, ``waiting`` the classes of others that wait. A class
    below its guaranteed share gets whatever is free. Above it, a class leaves to the
    others what they are guaranteed (or what is kept free for them while they do not
    wait), and steps back behind any higher class that waits.
    """
    if blocked_until is not None and now < blocked_until <= now + LONGEST_BLOCK:
        return Wait(blocked_until)
    counting = [permit for permit in given if permit.at > now - span(limits)]
    used = {each: sum(permit.priority is each for permit in counting) for each in Priority}
    free = limits.calls - len(counting)
    next_change = min((permit.at for permit in counting), default=now) + span(limits)
    if free <= 0:
        return Wait(next_change)
    if used[priority] < guaranteed(limits, priority):
        return Granted()
    if any(other < priority for other in waiting):
        return Wait(next_change)
    if priority is Priority.RECONCILIATION and used[priority] >= limits.calls // 2:
        return Wait(next_change)
    left_to_others = 0
    for other in Priority:
        if other is not priority:
            share = guaranteed(limits, other) if other in waiting else kept_free(limits, other)
            left_to_others += max(share - used[other], 0)
    return Granted() if free > left_to_others else Wait(next_change)


def lock(tx: sa.Connection, connection: str) -> datetime | None:
    """Hold the connection's row until the transaction ends; answers until when its calls are stopped."""
    mine = connections.c.name == connection
    locked = tx.execute(sa.select(connections.c.blocked_until).where(mine).with_for_update()).one_or_none()
    if locked is None:
        message = f"the connection {connection} has no row in the database yet"
        raise errors.DatabaseError(message)
    blocked_until: datetime | None = locked.blocked_until
    return blocked_until


def take(
    tx: sa.Connection,
    connection: str,
    limits: Limits,
    priority: Priority,
    instance: str,
    now: datetime,
    room: int = 1,
) -> Granted | Wait:
    """Take a permit if one may be given now; else be counted among those that wait.

    ``room``: how many calls must be possible now, this one among them: the others follow it at once.

    Where replicas share the connection, ``now`` must have been read after ``lock``.
    """
    blocked_until = lock(tx, connection)
    mine = permits.c.connection == connection
    tx.execute(permits.delete().where(mine, permits.c.at <= now - span(limits) * 2))
    # Stamps further ahead than can be are from before the clock was set back.
    tx.execute(permits.update().where(mine, permits.c.at > now + LONGEST_CALL).values(at=now))
    given = [Permit(row.at, Priority(row.priority)) for row in tx.execute(sa.select(permits).where(mine))]
    given += [Permit(now, priority)] * (min(room, limits.calls) - 1)
    outcome = decide(given, _waiting(tx, connection, priority, instance, now), priority, limits, now, blocked_until)
    stop_waiting(tx, connection, priority, instance)
    if isinstance(outcome, Wait):
        row_of_wait = {"connection": connection, "priority": priority.value, "instance": instance}
        expires_at = min(outcome.until, now + LONGEST_SLEEP) + WAIT_KEPT
        tx.execute(permit_waits.insert().values(**row_of_wait, expires_at=expires_at))
        return outcome
    given_now = {"connection": connection, "at": now + LONGEST_CALL, "priority": priority.value}
    result = tx.execute(permits.insert().values(given_now).returning(permits.c.id))
    return Granted(int(result.scalar_one()))


def _waiting(tx: sa.Connection, connection: str, priority: Priority, instance: str, now: datetime) -> set[Priority]:
    """The classes that wait on a connection, the caller aside."""
    rows = tx.execute(
        sa.select(permit_waits.c.priority, permit_waits.c.instance).where(
            permit_waits.c.connection == connection,
            permit_waits.c.expires_at > now,
            permit_waits.c.expires_at <= now + LONGEST_SLEEP + WAIT_KEPT,
        )
    )
    return {Priority(row.priority) for row in rows if (row.priority, row.instance) != (priority.value, instance)}


def stop_waiting(tx: sa.Connection, connection: str, priority: Priority, instance: str) -> None:
    """Be no longer counted among those that wait."""
    waits = permit_waits.c
    mine = (waits.connection == connection) & (waits.priority == priority.value) & (waits.instance == instance)
    tx.execute(permit_waits.delete().where(mine))


def finish(tx: sa.Connection, permit: int, now: datetime) -> None:
    """Stamp a permit with the time at which its call ended."""
    tx.execute(permits.update().where(permits.c.id == permit).values(at=now))


def block(tx: sa.Connection, connection: str, until: datetime, now: datetime) -> None:
    """Stop a connection's calls until then (five minutes at most), as PagerDuty asked for with a 429."""
    until = min(until, now + LONGEST_BLOCK)
    longer = sa.or_(
        connections.c.blocked_until.is_(None),
        connections.c.blocked_until < until,
        connections.c.blocked_until > now + LONGEST_BLOCK,
    )
    tx.execute(connections.update().where(connections.c.name == connection, longer).values(blocked_until=until))


def used(tx: sa.Connection, connection: str, limits: Limits, now: datetime) -> int:
    """How many permits of the present window are used up."""
    counting = (permits.c.connection == connection) & (permits.c.at > now - span(limits))
    return int(tx.execute(sa.select(sa.func.count()).select_from(permits).where(counting)).scalar_one())


class Permits:
    """One connection's permits in this process: one call at a time, the most urgent first."""

    def __init__(
        self,
        database: Database,
        connection: str,
        limits: Limits,
        instance: str,
        *,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._database = database
        self._connection = connection
        self._limits = limits
        self._instance = instance
        self._sleep = sleep
        self._lines = {priority: asyncio.Lock() for priority in Priority}
        self._turn = _Turn()
        self._given, self._waited = _counters(registry or CollectorRegistry())

    @asynccontextmanager
    async def permit(self, priority: Priority, room: int = 1) -> AsyncIterator[None]:
        """Wait for a permit and hold it for the one call that is made inside; ``room``: as for ``take``."""
        asked = time.monotonic()
        async with self._lines[priority]:  # first come, first served: only the first of a class asks
            permit = await self._wait_for_turn(priority, room)
        labels = (self._connection, priority.name.lower())
        self._given.labels(*labels).inc()
        self._waited.labels(*labels).inc(time.monotonic() - asked)
        try:
            yield
        finally:
            try:
                await asyncio.shield(self._database.write(self._finish, permit))
            finally:
                self._turn.give_up()

    async def block(self, delay: timedelta | None) -> None:
        """PagerDuty answered 429: make no call for ``delay``, or for a minute if it did not say."""
        await self._database.write(self._block, DEFAULT_BLOCK if delay is None else min(delay, LONGEST_BLOCK))

    async def _wait_for_turn(self, priority: Priority, room: int) -> int:
        """Take a permit; the turn stays with the caller. It is not held while sleeping: others may be let through."""
        waited = False
        try:
            while True:
                await self._turn.take(priority)
                try:
                    outcome, now = await self._database.write(self._take, priority, room)
                except BaseException:
                    self._turn.give_up()
                    raise
                if isinstance(outcome, Granted):
                    return outcome.permit
                self._turn.give_up()
                waited = True
                await self._sleep(min(outcome.until - now, LONGEST_SLEEP).total_seconds())
        except asyncio.CancelledError:
            if waited:
                await asyncio.shield(self._database.write(stop_waiting, self._connection, priority, self._instance))
            raise

    def _take(self, tx: sa.Connection, priority: Priority, room: int = 1) -> tuple[Granted | Wait, datetime]:
        lock(tx, self._connection)  # first, or the time would be old after waiting for it
        now = self._database.now(tx)
        return take(tx, self._connection, self._limits, priority, self._instance, now, room), now

    def _finish(self, tx: sa.Connection, permit: int) -> None:
        finish(tx, permit, self._database.now(tx))

    def _block(self, tx: sa.Connection, delay: timedelta) -> None:
        now = self._database.now(tx)
        block(tx, self._connection, now + delay, now)


@cache
def _counters(registry: CollectorRegistry) -> tuple[Counter, Counter]:
    """What all connections of a process count together."""
    labels = ("connection", "priority")
    given = Counter("pagerelay_permits", "Calls to PagerDuty that were permitted", labels, registry=registry)
    waited = Counter("pagerelay_permit_wait_seconds", "Time that calls waited for permits", labels, registry=registry)
    return given, waited


class _Turn:
    """A lock that goes to the waiter of the highest priority, and among equals to the first."""

    def __init__(self) -> None:
        self._taken = False
        self._order = itertools.count()
        self._waiters: list[tuple[Priority, int, asyncio.Future[None]]] = []

    async def take(self, priority: Priority) -> None:
        """Wait until it is free."""
        if not self._taken:
            self._taken = True
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters, (priority, next(self._order), future))
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.give_up()
            raise

    def give_up(self) -> None:
        """Hand it to the next."""
        while self._waiters:
            _, _, future = heapq.heappop(self._waiters)
            if not future.done():
                future.set_result(None)
                return
        self._taken = False
