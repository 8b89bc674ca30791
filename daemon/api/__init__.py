"""The HTTP API. It reads through ``views``, queues actions, and decides nothing itself.

FastAPI is imported only when a server is configured.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from daemon.control import Services, Waiting

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

    from fastapi import FastAPI
    from prometheus_client import CollectorRegistry
    from starlette.types import ASGIApp, Receive, Scope, Send

    from daemon.control.changes import Changes
    from daemon.settings import Settings
    from daemon.storage.database import Database


def create(
    database: Database,
    settings: Settings,
    services: Services | None = None,
    *,
    metrics: CollectorRegistry | None = None,
) -> FastAPI:
    """Return the application, for any ASGI server. ``metrics`` are the process's own counters."""
    from daemon.api import application  # noqa: PLC0415 - FastAPI is slow to import

    return application.create(database, settings, services or Services(), metrics)


def bind(settings: Settings) -> socket.socket | None:
    """Return the API's socket, or None without a server. Raises PagerelayError if the address cannot be used."""
    if settings.api is None:
        return None
    from daemon.api import server  # noqa: PLC0415 - as above

    return server.bind(settings.api.host, settings.api.port)


@contextlib.asynccontextmanager
async def serving(
    database: Database,
    settings: Settings,
    services: Services | None = None,
    metrics: CollectorRegistry | None = None,
    bound: socket.socket | None = None,
    switch: Switch | None = None,
) -> AsyncIterator[str | None]:
    """Serve the API inside the context, on ``bound`` if given; yield its address, or None without a server.

    ``switch`` may replace the application meanwhile. Raises PagerelayError if the address cannot be used.
    """
    if settings.api is None:
        yield None
        return
    from daemon.api import server  # noqa: PLC0415 - as above

    switch = switch or Switch()
    services = services or Services()
    switch.use(create(database, settings, services, metrics=metrics), services)
    async with server.listening(switch, bound or server.bind(settings.api.host, settings.api.port)) as address:
        try:
            yield address
        finally:
            services.waiting.stop()
            switch.stop()


class Switch:
    """The application that answers, which a reload replaces. Requests that have begun end in the old one."""

    def __init__(self) -> None:
        self._app: ASGIApp | None = None
        self._changes: Changes | None = None

    def use(self, app: ASGIApp, services: Services) -> None:
        """Let an application answer from now on. Open pages connect again."""
        self.stop()
        self._app, self._changes = app, services.changes

    def stop(self) -> None:
        """End what waits for changes."""
        if self._changes is not None:
            self._changes.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        assert self._app is not None  # noqa: S101 - for the type checker: there is one before the server listens
        await self._app(scope, receive, send)


__all__ = ["Services", "Switch", "Waiting", "bind", "create", "serving"]
