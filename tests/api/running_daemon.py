"""A whole daemon in this process, on a simulated account and without targets."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from daemon import app, config
from tests.harness.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from daemon.settings import Settings


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[str]:
    """Run the daemon while inside; yields its API's address."""
    stop = asyncio.Event()
    addresses: list[str | None] = []
    daemon = asyncio.create_task(app.run(config.Loaded(settings, {}), ready=addresses.append, stop=stop))
    await eventually(lambda: addresses or daemon.done())
    try:
        yield addresses[0] or ""
    finally:
        stop.set()
        await daemon
