"""The request rate of a target in this process: a sliding log of when attempts started."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.settings import RateLimit

LOOK_AGAIN_SECONDS = 0.02


class Rate:
    """One target's rate limit; without a ``limit`` no attempt waits."""

    def __init__(self, limit: RateLimit | None) -> None:
        self._limit = limit
        self._starts: deque[float] = deque()
        self._live = 0  # number of waiting live deliveries

    @property
    def is_unlimited(self) -> bool:
        """Return whether no attempt waits."""
        return self._limit is None

    async def turn(self, *, live: bool, stopping: asyncio.Event, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Wait until one more attempt may start, or the daemon stops. Replayed deliveries wait for live ones.

        An attempt that ``is_wanted`` no longer accepts when its turn comes leaves the turn to others.
        """
        if self._limit is None:
            return
        self._live += live
        try:
            while not stopping.is_set() and is_wanted() and (seconds := self._seconds(self._limit, live=live)) > 0:
                try:
                    async with asyncio.timeout(seconds):
                        await stopping.wait()
                except TimeoutError:
                    continue
        finally:
            self._live -= live

    def _seconds(self, limit: RateLimit, *, live: bool) -> float:
        """Return how long to wait before asking again; 0: the attempt is counted as started."""
        now, period = time.monotonic(), limit.period.total_seconds()
        while self._starts and self._starts[0] <= now - period:
            self._starts.popleft()
        if len(self._starts) >= limit.calls:
            return self._starts[0] + period - now
        if not live and self._live:
            return LOOK_AGAIN_SECONDS
        self._starts.append(now)
        return 0.0
