"""Pick-lists read from PagerDuty, bounded in time and within the shared budget."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from daemon import errors
from daemon.text import did_you_mean, quoted
from daemon.views import connection_health

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import timedelta

    import sqlalchemy as sa

    from daemon.control.current import Current
    from daemon.pagerduty import Client
    from daemon.settings import Connection
    from daemon.storage.database import Database
    from daemon.views.connection_health import ConnectionStatus

Pick = TypeVar("Pick")


class PickLists:
    """Reads pick-lists from PagerDuty."""

    def __init__(self, database: Database, current: Current) -> None:
        self._database = database
        self._current = current

    async def read(
        self, name: str, ask: Callable[[Client, str | None], Awaitable[list[Pick]]], text: str | None
    ) -> list[Pick]:
        """Return a list. Raises NotFound for an unknown connection, and PagerDutyError."""
        services, settings = self._current.services, self._current.settings
        client = services.clients.get(name)
        if client is None:
            raise errors.NotFound(f"unknown connection {quoted(name)}{did_you_mean(name, services.clients)}")
        patience = services.patience.total_seconds()
        try:
            async with asyncio.timeout(patience):
                return await ask(client, text)
        except TimeoutError:
            raise await self._late(settings.connections[name], patience) from None

    async def _late(self, connection: Connection, patience: float) -> errors.Temporary:
        """Return the error for a time-out, with its likely cause."""

        def look(tx: sa.Connection) -> tuple[ConnectionStatus, timedelta | None]:
            now = self._database.now(tx)
            (status,) = connection_health.read(tx, {connection.name: connection}, (), now)
            return status, None if status.blocked_until is None else status.blocked_until - now

        status, blocked = await self._database.read(look)
        if blocked is not None:
            message = f"connection {connection.name} is rate-limited by PagerDuty"
            return errors.Temporary(message, status=HTTPStatus.TOO_MANY_REQUESTS, delay=blocked)
        if not status.budget.left:
            message = f"the call budget of connection {connection.name} is used up at the moment"
            return errors.Temporary(message, status=HTTPStatus.TOO_MANY_REQUESTS)
        return errors.Temporary(f"PagerDuty did not respond within {patience:g} s")
