"""/healthz, /readyz and /metrics: what monitoring reads without a token."""

from __future__ import annotations

import time
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
    from collections.abc import Callable

    import sqlalchemy as sa
    from prometheus_client import CollectorRegistry

    from daemon.control import Current
    from daemon.storage.database import Database, Failure

log = structlog.get_logger()

STUCK: dict[int | str, dict[str, Any]] = {
    503: {"model": problem_documents.Problem, "description": "The database has failed for five minutes"}
}
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
    """The database responds, and every connection was polled within three intervals.

    ``warnings`` say what else needs attention, such as a clock that is minutes off.
    """

    status: Literal["ready"]
    warnings: list[str] | None = None


def router(database: Database, current: Current, counted: CollectorRegistry | None) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["health"])

    def unready(tx: sa.Connection) -> list[str]:
        settings = current.settings
        return connection_health.read_unready(tx, settings.connections, settings.triggers.values(), database.now(tx))

    def live_instances(tx: sa.Connection) -> tuple[overview.Instance, ...]:
        return overview.live_instances(tx, database.now(tx))

    def status(tx: sa.Connection) -> overview.Overview:
        settings = current.settings
        return overview.read(tx, settings.connections, settings.triggers, settings.targets, database.now(tx))

    @routes.get("/healthz", response_model=Alive, responses=STUCK)
    async def healthz() -> Alive | Response:
        """Check that the process is alive; one that has not been able to write for five minutes is not."""
        failure = database.failure
        if failure is not None and database.is_stuck(time.monotonic()):
            return problem_documents.respond(HTTPStatus.SERVICE_UNAVAILABLE, _since(failure))
        return Alive("ok", daemon.__version__)

    @routes.get("/readyz", response_model=Ready, response_model_exclude_none=True, responses=UNREADY)
    async def readyz() -> Ready | Response:
        """Check that events flow; name what is not ready."""
        if reasons := await _reasons(database, unready):
            return problem_documents.respond(HTTPStatus.SERVICE_UNAVAILABLE, "; ".join(reasons), unready=reasons)
        clocks = [each.clock_problem for each in await database.read(live_instances) if each.clock_problem]
        return Ready("ready", clocks or None)

    @routes.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Return metrics in Prometheus' text format."""
        try:
            current = await database.read(status)
        except errors.DatabaseError:
            current = None
        return Response(gauges.text(current, counted), media_type=CONTENT_TYPE_LATEST)

    return routes


async def _reasons(database: Database, unready: Callable[[sa.Connection], list[str]]) -> list[str]:
    """Return why this daemon is not ready, the database first."""
    try:
        reasons = await database.read(unready)
    except errors.DatabaseError as error:
        log.warning("database.unreachable", error=str(error))
        reasons = []
    return reasons if database.failure is None else [_since(database.failure), *reasons]


def _since(failure: Failure) -> str:
    return f"{failure.error} (for {time.monotonic() - failure.since:.0f} s)"
