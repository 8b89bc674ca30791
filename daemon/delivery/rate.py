"""How often a target is asked, by this process: a sliding log of the starts of attempts."""

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
    """One target's rate; without a ``limit`` nobody waits."""

    def __init__(self, limit: RateLimit | None) -> None:
        self._limit = limit
        self._starts: deque[float] = deque()
        self._live = 0  # how many live deliveries wait

    async def turn(self, *, live: bool, stopping: asyncio.Event, wanted: Callable[[], bool] = lambda: True) -> None:
        """Wait until one more attempt may start, or none will any more. Replayed deliveries wait for live ones.

        What is not ``wanted`` any more when its turn comes leaves it to others.
        """
        if self._limit is None:
            return
        self._live += live
        try:
            while not stopping.is_set() and wanted() and (seconds := self._seconds(self._limit, live=live)) > 0:
                try:
                    async with asyncio.timeout(seconds):
                        await stopping.wait()
                except TimeoutError:
                    continue
        finally:
            self._live -= live

    def _seconds(self, limit: RateLimit, *, live: bool) -> float:
        """How long to wait before asking again; 0: it is counted as started."""
        now, period = time.monotonic(), limit.period.total_seconds()
        while self._starts and self._starts[0] <= now - period:
            self._starts.popleft()
        if len(self._starts) >= limit.calls:
            return self._starts[0] + period - now
        if not live and self._live:
            return LOOK_AGAIN_SECONDS
        self._starts.append(now)
        return 0.0
