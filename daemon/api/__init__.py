"""The HTTP API: what programs see of pagerelay. Reads through ``views``, decides nothing itself.

FastAPI is imported when a server is wanted, and not before.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from fastapi import FastAPI
    from prometheus_client import CollectorRegistry
    from pydantic import SecretStr

    from daemon.database import Database
    from daemon.model import Connection, Target, Trigger


class Listening(Protocol):
    """Where to listen, and the token that /v1 asks for."""

    @property
    def host(self) -> str: ...  # noqa: D102 - the class says it
    @property
    def port(self) -> int: ...  # noqa: D102
    @property
    def token(self) -> SecretStr | None: ...  # noqa: D102


class Settings(Protocol):
    """What the API has to know of the configuration."""

    @property
    def api(self) -> Listening | None: ...  # noqa: D102 - the class says it
    @property
    def connections(self) -> Mapping[str, Connection]: ...  # noqa: D102
    @property
    def triggers(self) -> Mapping[str, Trigger]: ...  # noqa: D102
    @property
    def targets(self) -> Mapping[str, Target]: ...  # noqa: D102


def create(database: Database, settings: Settings, *, metrics: CollectorRegistry | None = None) -> FastAPI:
    """The application, for any ASGI server. ``metrics`` are what this process counts itself."""
    from daemon.api import application  # noqa: PLC0415 - FastAPI is slow to import

    return application.create(database, settings, metrics)


@contextlib.asynccontextmanager
async def serving(
    database: Database, settings: Settings, metrics: CollectorRegistry | None = None
) -> AsyncIterator[str | None]:
    """Serve the API while inside; yields its address, None where the settings want no server.

    Raises PagerelayError if the address cannot be listened on.
    """
    if settings.api is None:
        yield None
        return
    from daemon.api import server  # noqa: PLC0415 - as above

    app = create(database, settings, metrics=metrics)
    async with server.listening(app, settings.api.host, settings.api.port) as address:
        yield address


__all__ = ["Listening", "Settings", "create", "serving"]
