"""A signal that something visible has changed, for open pages."""

from __future__ import annotations

import asyncio
import contextlib


class Changes:
    """A number that grows with each change that this process makes, and a way to wait for that."""

    def __init__(self) -> None:
        self.number = 0
        self.stopping = False
        self.restarts = 0
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """Record a change."""
        self.number += 1
        self._changed.set()

    def restart(self) -> None:
        """Record that everything may have changed, so that open pages connect again."""
        self.restarts += 1
        self.notify()

    def stop(self) -> None:
        """End all waiting for good."""
        self.stopping = True
        self._changed.set()

    async def wait(self, seconds: float) -> None:
        """Return at the next change, after ``seconds``, or when the daemon stops."""
        if self.stopping:
            return
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
