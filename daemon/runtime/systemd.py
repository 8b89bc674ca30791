"""Notifications to systemd: one datagram each, as sd_notify(3) describes. Without systemd nothing happens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

log = structlog.get_logger()

EXTEND_EVERY_SECONDS = 10.0
EXTENSION = 60_000_000  # microseconds


def notify(state: str) -> None:
    """Send ``state`` (``READY=1``, ``WATCHDOG=1``, ``STOPPING=1``, ``STATUS=…``) to the service manager.

    A manager that does not read, so that its buffer is full, misses it: the daemon waits for nobody.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sender:
        try:
            sender.sendto(state.encode(), address)
        except OSError:
            return


def _ignore() -> None:
    """Do nothing."""


@contextlib.asynccontextmanager
async def long_start(what: str, tick: Callable[[], None] = _ignore) -> AsyncIterator[None]:
    """Ask the service manager for more time while the block runs, however long that takes.

    ``tick`` is called every ten seconds meanwhile.
    """
    task = asyncio.create_task(_extend(what, tick), name="long-start")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _extend(what: str, tick: Callable[[], None]) -> None:
    while True:
        notify(f"STATUS={what}\nEXTEND_TIMEOUT_USEC={EXTENSION}")
        await asyncio.sleep(EXTEND_EVERY_SECONDS)
        tick()


class Watchdog:
    """Signs of life for the service manager. ``problem`` returns why a restart would help, or None."""

    def __init__(self, problem: Callable[[], str | None]) -> None:
        self._problem = problem
        self._reported: str | None = None

    def beat(self) -> None:
        """Send a sign of life, unless something is stuck; log that once."""
        problem = self._problem()
        if problem is None:
            notify("WATCHDOG=1")
        elif problem != self._reported:
            log.error("daemon.stuck", error=problem, remedy="restart it; systemd's watchdog does so")
        self._reported = problem
