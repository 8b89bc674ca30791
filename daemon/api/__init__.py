"""The HTTP API: what programs see of pagerelay. Reads through ``views``, queues actions, decides nothing itself.

FastAPI is imported when a server is wanted, and not before.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from daemon.api.waiting import Waiting

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from fastapi import FastAPI
    from prometheus_client import CollectorRegistry

    from daemon.pagerduty import Client
    from daemon.settings import Settings
    from daemon.storage.database import Database


@dataclass(frozen=True, slots=True)
class Work:
    """What the API reaches of the working parts.

    ``clients`` ask PagerDuty for the pick-lists, by connection. ``wake`` is told the connection that
    has got an action, ``waiting`` is told by the executors when something came of one. ``patience``
    is how long a pick-list may take. ``wake_targets`` is told the targets that may have something to
    send, ``wake_replays`` that there is one, or one less.
    """

    clients: Mapping[str, Client] = field(default_factory=dict)
    wake: Callable[[str], None] = lambda _connection: None
    waiting: Waiting = field(default_factory=Waiting)
    patience: timedelta = timedelta(seconds=20)
    wake_targets: Callable[[Iterable[str]], None] = lambda _names: None
    wake_replays: Callable[[], None] = lambda: None


def create(
    database: Database, settings: Settings, work: Work | None = None, *, metrics: CollectorRegistry | None = None
) -> FastAPI:
    """The application, for any ASGI server. ``metrics`` are what this process counts itself."""
    from daemon.api import application  # noqa: PLC0415 - FastAPI is slow to import

    return application.create(database, settings, work or Work(), metrics)


def bind(settings: Settings) -> socket.socket | None:
    """The socket of the API, before anything else begins; None where the settings want no server.

    Raises PagerelayError if the address cannot be listened on.
    """
    if settings.api is None:
        return None
    from daemon.api import server  # noqa: PLC0415 - as above

    return server.bind(settings.api.host, settings.api.port)


@contextlib.asynccontextmanager
async def serving(
    database: Database,
    settings: Settings,
    work: Work | None = None,
    metrics: CollectorRegistry | None = None,
    bound: socket.socket | None = None,
) -> AsyncIterator[str | None]:
    """Serve the API while inside, on ``bound`` if it is there already; yields its address, None without a server.

    Raises PagerelayError if the address cannot be listened on.
    """
    if settings.api is None:
        yield None
        return
    from daemon.api import server  # noqa: PLC0415 - as above

    work = work or Work()
    app = create(database, settings, work, metrics=metrics)
    async with server.listening(app, bound or server.bind(settings.api.host, settings.api.port)) as address:
        try:
            yield address
        finally:
            work.waiting.stop()


__all__ = ["Waiting", "Work", "bind", "create", "serving"]
