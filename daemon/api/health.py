"""/healthz, /readyz and /metrics: what monitoring reads without a token."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

import structlog
from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

import daemon
from daemon import errors
from daemon.api import metrics as gauges
from daemon.api import problem_documents
from daemon.views import connection_health, overview

if TYPE_CHECKING:
    import sqlalchemy as sa
    from prometheus_client import CollectorRegistry

    from daemon.settings import Settings
    from daemon.storage.database import Database

log = structlog.get_logger()

UNREADY: dict[int | str, dict[str, Any]] = {
    503: {"model": problem_documents.Problem, "description": "Not ready: ``unready`` names the reasons"}
}


@dataclass(frozen=True, slots=True)
class Alive:
    """The process is alive."""

    status: Literal["ok"]
    version: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The database responds, and every connection was polled within three intervals."""

    status: Literal["ready"]


def router(database: Database, settings: Settings, counted: CollectorRegistry | None) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["health"])

    def unready(tx: sa.Connection) -> list[str]:
        return connection_health.read_unready(tx, settings.connections, settings.triggers.values(), database.now(tx))

    def status(tx: sa.Connection) -> overview.Overview:
        return overview.read(tx, settings.connections, settings.triggers, settings.targets, database.now(tx))

    @routes.get("/healthz")
    async def healthz() -> Alive:
        """Check that the process is alive."""
        return Alive("ok", daemon.__version__)

    @routes.get("/readyz", response_model=Ready, responses=UNREADY)
    async def readyz() -> Ready | Response:
        """Check that events flow; name what is not ready."""
        try:
            reasons = await database.read(unready)
        except errors.DatabaseError as error:
            log.warning("database.unreachable", error=str(error))
            reasons = ["database: cannot be reached"]
        if reasons:
            return problem_documents.respond(HTTPStatus.SERVICE_UNAVAILABLE, "; ".join(reasons), unready=reasons)
        return Ready("ready")

    @routes.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Return metrics in Prometheus' text format."""
        current = await database.read(status)
        return Response(gauges.text(current, counted), media_type=CONTENT_TYPE_LATEST)

    return routes
