"""Feeding replays: as soon as a target has sent half of what it had, it gets the next part."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from daemon.storage import replays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NoReturn

    import sqlalchemy as sa

    from daemon.storage.database import Database

LOOK_SECONDS = 5.0  # what another process asks for is noticed that late
QUICK_SECONDS = 0.1
SLOWER = 1.5


class Replaying:
    """Carries replays out.

    ``wake_targets`` is told which targets got something to send; ``let_go`` is called when one was cancelled.
    """

    def __init__(
        self, database: Database, wake_targets: Callable[[Iterable[str]], None], let_go: Callable[[], None]
    ) -> None:
        self._database = database
        self._wake_targets = wake_targets
        self._let_go = let_go
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Say that there is a new replay, or that one was cancelled."""
        self._woken.set()

    async def run(self) -> NoReturn:
        """Feed whatever there is, quickly while targets take what they get, and look for more in between."""
        pause = QUICK_SECONDS
        while True:
            self._woken.clear()
            going_on = await self._database.read(replays.has_open)
            if going_on:
                fed = await self._database.write(self._feed)
                going_on = fed.going_on
                pause = QUICK_SECONDS if fed.targets else min(pause * SLOWER, LOOK_SECONDS)
                self._wake_targets(fed.targets)
                if fed.left_over:
                    self._let_go()
            try:
                async with asyncio.timeout(pause if going_on else LOOK_SECONDS):
                    await self._woken.wait()
                    pause = QUICK_SECONDS
            except TimeoutError:
                continue

    def _feed(self, tx: sa.Connection) -> replays.Fed:
        return replays.feed(tx, self._database.now(tx))
