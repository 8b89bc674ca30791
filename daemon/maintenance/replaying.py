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
            has_more = await self._database.read(replays.has_open)
            if has_more:
                progress = await self._database.write(self._advance)
                has_more = progress.has_more
                pause = QUICK_SECONDS if progress.targets else min(pause * SLOWER, LOOK_SECONDS)
                self._wake_targets(progress.targets)
                if progress.left_over:
                    self._let_go()
            try:
                async with asyncio.timeout(pause if has_more else LOOK_SECONDS):
                    await self._woken.wait()
                    pause = QUICK_SECONDS
            except TimeoutError:
                continue

    def _advance(self, tx: sa.Connection) -> replays.Progress:
        return replays.advance(tx, self._database.now(tx))
