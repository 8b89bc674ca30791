"""GET /v1/status: everything at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter

from daemon.views import overview

if TYPE_CHECKING:
    from daemon.control import Current
    from daemon.storage.database import Database


def router(database: Database, current: Current) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["status"])

    @routes.get("/status")
    async def status() -> overview.Overview:
        """Show connections, triggers, targets and daemons at a glance."""
        settings = current.settings
        parts = settings.connections, settings.triggers, settings.targets
        return await database.read(lambda tx: overview.read(tx, *parts, database.now(tx)))

    return routes
