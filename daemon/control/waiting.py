"""Waiting for actions to finish, without a thread per wait and with few database queries."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from daemon.model import ActionState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from daemon.views.action_list import ActionItem

LOOK_SECONDS = 2.0  # another replica may run the action, without notifying this one
MOST_WAITING = 128  # fewer than the server's request limit, so that other requests get through
FINISHED = (ActionState.SUCCEEDED, ActionState.FAILED)


class Waiting:
    """Requests that wait for actions; each also looks for itself every ``look_seconds``."""

    def __init__(self, look_seconds: float = LOOK_SECONDS) -> None:
        self._look_seconds = look_seconds
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._stopping = False

    def notify(self, action_ids: Collection[str]) -> None:
        """Wake the requests that wait for these actions."""
        for action_id in action_ids:
            for woken in self._waiting.get(action_id, ()):
                woken.set()

    def stop(self) -> None:
        """End all waiting."""
        self._stopping = True
        self.notify(list(self._waiting))

    async def until_finished(
        self,
        action: ActionItem,
        seconds: float,
        look: Callable[[], Awaitable[ActionItem]],
        disconnected: Callable[[], Awaitable[None]],
    ) -> ActionItem:
        """Return the action when it has finished, or when waiting ends.

        Waiting ends after ``seconds``, when ``disconnected`` returns, when the daemon stops, and at once if too many
        requests are waiting already.
        """
        if action.state in FINISHED or seconds <= 0 or sum(map(len, self._waiting.values())) >= MOST_WAITING:
            return action
        woken = asyncio.Event()
        leaving = asyncio.ensure_future(disconnected())
        leaving.add_done_callback(lambda _: woken.set())
        self._waiting.setdefault(action.id, set()).add(woken)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        try:
            while True:
                woken.clear()
                action = await look()
                left = deadline - loop.time()
                if action.state in FINISHED or left <= 0 or self._stopping or leaving.done():
                    return action
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(left, self._look_seconds)):
                        await woken.wait()
        finally:
            leaving.cancel()
            self._waiting[action.id].discard(woken)
            if not self._waiting[action.id]:
                del self._waiting[action.id]
