"""Sending of replays in batches: a target gets the next one as soon as it has sent half of the last."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from daemon.storage import replays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NoReturn

    import sqlalchemy as sa

    from daemon.storage.database import Database

LOOK_SECONDS = 5.0  # a request from another process is noticed after at most this time
QUICK_SECONDS = 0.1
SLOWER = 1.5


class Replaying:
    """Advances replays.

    ``wake_targets`` receives the targets with new deliveries; ``release`` is called when a replay was cancelled.
    """

    def __init__(
        self, database: Database, wake_targets: Callable[[Iterable[str]], None], release: Callable[[], None]
    ) -> None:
        self._database = database
        self._wake_targets = wake_targets
        self._release = release
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Signal that a replay was started or cancelled."""
        self._woken.set()

    async def run(self) -> NoReturn:
        """Advance all open replays, quickly while targets keep up, and check for new ones in between."""
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
                    self._release()
            try:
                async with asyncio.timeout(pause if has_more else LOOK_SECONDS):
                    await self._woken.wait()
                    pause = QUICK_SECONDS
            except TimeoutError:
                continue

    def _advance(self, tx: sa.Connection) -> replays.Progress:
        return replays.advance(tx, self._database.now(tx))
