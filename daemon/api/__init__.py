"""The HTTP API. It reads through ``views``, queues actions, and decides nothing itself.

FastAPI is imported only when a server is configured.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from daemon.control import Current, Services, Waiting

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

    from fastapi import FastAPI
    from prometheus_client import CollectorRegistry

    from daemon.settings import Settings
    from daemon.storage.database import Database


def create(
    database: Database,
    current: Current,
    *,
    metrics: CollectorRegistry | None = None,
) -> FastAPI:
    """Return the application, for any ASGI server. ``metrics`` are the process's own counters."""
    from daemon.api import application  # noqa: PLC0415 - FastAPI is slow to import

    return application.create(database, current, metrics)


def bind(settings: Settings) -> socket.socket | None:
    """Return the API's socket, or None without a server. Raises PagerelayError if the address cannot be used."""
    if settings.api is None:
        return None
    from daemon.api import server  # noqa: PLC0415 - as above

    return server.bind(settings.api.host, settings.api.port)


@contextlib.asynccontextmanager
async def serving(
    database: Database,
    current: Current,
    *,
    metrics: CollectorRegistry | None = None,
    bound: socket.socket | None = None,
) -> AsyncIterator[str | None]:
    """Serve the API inside the context, on ``bound`` if given; yield its address, or None without a server.

    Raises PagerelayError if the address cannot be used.
    """
    bound = bound or bind(current.settings)
    if bound is None:
        yield None
        return
    from daemon.api import server  # noqa: PLC0415 - as above

    async with server.listening(create(database, current, metrics=metrics), bound) as address:
        try:
            yield address
        finally:
            current.services.waiting.stop()
            current.services.changes.stop()


__all__ = ["Current", "Services", "Waiting", "bind", "create", "serving"]
