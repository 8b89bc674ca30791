"""Waiting until an action has ended. A wait holds no thread, and asks the database little."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from daemon.model import ActionState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from daemon.views.action_list import ActionItem

LOOK_SECONDS = 2.0  # another replica may carry the action out: it tells nobody here
MOST_WAITING = 128  # the server takes more requests than that: some are left for everybody else
ENDED = (ActionState.SUCCEEDED, ActionState.FAILED)


class Waiting:
    """Those who wait for actions to end; they look by themselves every ``look_seconds``, too."""

    def __init__(self, look_seconds: float = LOOK_SECONDS) -> None:
        self._look_seconds = look_seconds
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._stopping = False

    def tell(self, action_ids: Collection[str]) -> None:
        """Say that something came of these actions."""
        for action_id in action_ids:
            for woken in self._waiting.get(action_id, ()):
                woken.set()

    def stop(self) -> None:
        """Let nobody wait any more."""
        self._stopping = True
        self.tell(list(self._waiting))

    async def until_ended(
        self,
        action: ActionItem,
        seconds: float,
        look: Callable[[], Awaitable[ActionItem]],
        gone: Callable[[], Awaitable[None]],
    ) -> ActionItem:
        """The action as it is when it has ended, or when there is no more reason to wait.

        That is after so many seconds, when ``gone`` returns (whoever asked is no longer there),
        when the daemon stops, or at once where too many wait already.
        """
        if action.state in ENDED or seconds <= 0 or sum(map(len, self._waiting.values())) >= MOST_WAITING:
            return action
        woken = asyncio.Event()
        leaving = asyncio.ensure_future(gone())
        leaving.add_done_callback(lambda _: woken.set())
        self._waiting.setdefault(action.id, set()).add(woken)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        try:
            while True:
                woken.clear()
                action = await look()
                left = deadline - loop.time()
                if action.state in ENDED or left <= 0 or self._stopping or leaving.done():
                    return action
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left, self._look_seconds)):
                        await woken.wait()
        finally:
            leaving.cancel()
            self._waiting[action.id].discard(woken)
            if not self._waiting[action.id]:
                del self._waiting[action.id]
