"""The permits of one connection in this process: calls wait here, the most urgent first."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter

from daemon.model import CallPriority
from daemon.runtime.presence import UNCONTESTED
from daemon.storage import permits
from daemon.storage.permits import LONGEST_BLOCK, LONGEST_SLEEP, Granted, Wait

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from datetime import datetime

    import sqlalchemy as sa

    from daemon.runtime.presence import Presence
    from daemon.settings import Limits
    from daemon.storage.database import Database

DEFAULT_BLOCK = timedelta(seconds=60)


class Permits:
    """The permits of one connection's calls: one call at a time, the most urgent first."""

    def __init__(
        self,
        database: Database,
        connection: str,
        limits: Limits,
        instance: str,
        *,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        registry: CollectorRegistry | None = None,
        presence: Presence = UNCONTESTED,
    ) -> None:
        self._database = database
        self._presence = presence
        self._connection = connection
        self._limits = limits
        self._instance = instance
        self._sleep = sleep
        self._queues = {priority: asyncio.Lock() for priority in CallPriority}
        self._turn = _Turn()
        self._granted, self._waited = _counters(registry or CollectorRegistry())

    @asynccontextmanager
    async def permit(self, priority: CallPriority, room: int = 1) -> AsyncIterator[None]:
        """Wait for a permit and hold it for the single call that is made inside; ``room`` as for ``permits.take``.

        Raises LostClaim if other daemons may have taken over the work that the call is part of.
        """
        started = time.monotonic()
        async with self._queues[priority]:  # first come, first served: only the first call of each priority takes part
            permit = await self._wait_for_turn(priority, room)
        labels = (self._connection, priority.name.lower())
        self._granted.labels(*labels).inc()
        self._waited.labels(*labels).inc(time.monotonic() - started)
        try:
            self._presence.require()
            yield
        finally:
            try:
                await asyncio.shield(self._database.write(self._finish, permit))
            finally:
                self._turn.give_up()

    async def block(self, delay: timedelta | None) -> None:
        """Make no call for ``delay``, or for a minute if PagerDuty's 429 did not name one."""
        await self._database.write(self._block, DEFAULT_BLOCK if delay is None else min(delay, LONGEST_BLOCK))

    async def _wait_for_turn(self, priority: CallPriority, room: int) -> int:
        """Take a permit and keep the turn, which is released while sleeping so that others may overtake."""
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
                await asyncio.shield(
                    self._database.write(permits.stop_waiting, self._connection, priority, self._instance)
                )
            raise

    def _take(self, tx: sa.Connection, priority: CallPriority, room: int = 1) -> tuple[Granted | Wait, datetime]:
        permits.lock(tx, self._connection)  # first: a time read before waiting for the lock would be outdated
        now = self._database.now(tx)
        return permits.take(tx, self._connection, self._limits, priority, self._instance, now, room), now

    def _finish(self, tx: sa.Connection, permit: int) -> None:
        permits.finish(tx, permit, self._database.now(tx))

    def _block(self, tx: sa.Connection, delay: timedelta) -> None:
        now = self._database.now(tx)
        permits.block(tx, self._connection, now + delay, now)


@cache
def _counters(registry: CollectorRegistry) -> tuple[Counter, Counter]:
    """Return the counters that all connections of a process share."""
    labels = ("connection", "priority")
    granted = Counter("pagerelay_permits", "Calls to PagerDuty that were permitted", labels, registry=registry)
    waited = Counter("pagerelay_permit_wait_seconds", "Time that calls waited for permits", labels, registry=registry)
    return granted, waited


class _Turn:
    """A lock that passes to the waiter with the highest priority, and among equals to the first."""

    def __init__(self) -> None:
        self._taken = False
        self._order = itertools.count()
        self._waiters: list[tuple[CallPriority, int, asyncio.Future[None]]] = []

    async def take(self, priority: CallPriority) -> None:
        """Wait for the lock."""
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
        """Pass the lock to the next waiter."""
        while self._waiters:
            _, _, future = heapq.heappop(self._waiters)
            if not future.done():
                future.set_result(None)
                return
        self._taken = False
