"""What operators' machines ask without a token: alive, ready, metrics."""

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
from daemon.api import problems
from daemon.views import connection_health, overview

if TYPE_CHECKING:
    import sqlalchemy as sa
    from prometheus_client import CollectorRegistry

    from daemon.settings import Settings
    from daemon.storage.database import Database

log = structlog.get_logger()

UNREADY: dict[int | str, dict[str, Any]] = {
    503: {"model": problems.Problem, "description": "Something is not ready: ``unready`` names it"}
}


@dataclass(frozen=True, slots=True)
class Alive:
    """The process lives and its loop turns."""

    status: Literal["ok"]
    version: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The database answers, and every connection was polled within three intervals."""

    status: Literal["ready"]


def router(database: Database, settings: Settings, counted: CollectorRegistry | None) -> APIRouter:
    """The routes."""
    made = APIRouter(tags=["operations"])

    def unready(tx: sa.Connection) -> list[str]:
        return connection_health.read_unready(tx, settings.connections, settings.triggers.values(), database.now(tx))

    def status(tx: sa.Connection) -> overview.Overview:
        return overview.read(tx, settings.connections, settings.triggers, settings.targets, database.now(tx))

    @made.get("/healthz")
    async def healthz() -> Alive:
        """Whether the process lives."""
        return Alive("ok", daemon.__version__)

    @made.get("/readyz", response_model=Ready, responses=UNREADY)
    async def readyz() -> Ready | Response:
        """Whether events flow: names what is not ready."""
        try:
            reasons = await database.read(unready)
        except errors.DatabaseError as error:
            log.warning("database.unreachable", error=str(error))
            reasons = ["database: cannot be reached"]
        if reasons:
            return problems.answer(HTTPStatus.SERVICE_UNAVAILABLE, "; ".join(reasons), unready=reasons)
        return Ready("ready")

    @made.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Metrics in Prometheus' text format."""
        found = await database.read(status)
        return Response(gauges.text(found, counted), media_type=CONTENT_TYPE_LATEST)

    return made
