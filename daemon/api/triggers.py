"""GET /v1/triggers: the configured triggers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import APIRouter

from daemon.views import trigger_health

if TYPE_CHECKING:
    from daemon.control import Current
    from daemon.storage.database import Database


@dataclass(frozen=True, slots=True)
class TriggerList:
    """The configured triggers."""

    items: tuple[trigger_health.TriggerStatus, ...]
    next: None = None


def router(database: Database, current: Current) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["triggers"])

    @routes.get("/triggers")
    async def triggers() -> TriggerList:
        """List the triggers."""
        return TriggerList(await database.read(trigger_health.read, current.settings.triggers))

    return routes
