"""The FastAPI application: its routes and its OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI

import daemon
from daemon.api import (
    access,
    actions,
    connections,
    deliveries,
    events,
    health,
    hosts,
    problem_documents,
    replays,
    request_limits,
    status,
    targets,
    triggers,
)

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from daemon.control import Services
    from daemon.settings import Settings
    from daemon.storage.database import Database

FIRST_ERROR = "4"


class Application(FastAPI):
    """FastAPI with problem documents instead of its own errors."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        if self.openapi_schema is None:
            document = super().openapi()
            for path in document["paths"].values():
                for operation in path.values():
                    _use_problem_documents(operation["responses"])
            for own in ("HTTPValidationError", "ValidationError"):
                document["components"]["schemas"].pop(own, None)
            self.openapi_schema = document
        return self.openapi_schema


def create(database: Database, settings: Settings, services: Services, metrics: CollectorRegistry | None) -> FastAPI:
    """Return the application. Only /v1 requires the token."""
    app = Application(
        title="pagerelay",
        version=daemon.__version__,
        summary="PagerDuty in, signed webhooks out",
        docs_url=None,  # these pages load scripts from the internet
        redoc_url=None,
        redirect_slashes=False,
        responses={503: {"model": problem_documents.Problem, "description": "The database cannot be used"}},
    )
    if settings.api is not None:
        app.add_middleware(hosts.Hosts, settings.api.hosts)
    app.add_middleware(request_limits.RequestLimits)
    problem_documents.install(app)
    app.include_router(health.router(database, settings, metrics))
    for router in (
        status.router(database, settings),
        connections.router(database, settings, services),
        triggers.router(database, settings),
        targets.router(database, settings, services),
        events.router(database),
        deliveries.router(database, settings, services),
        actions.router(database, settings, services),
        replays.router(database, settings, services),
    ):
        app.include_router(
            router, prefix="/v1", dependencies=[Depends(access.bearer(settings.api))], responses=access.REFUSALS
        )
    return app


def _use_problem_documents(responses: dict[str, Any]) -> None:
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    for code, response in responses.items():
        if code >= FIRST_ERROR:
            response["content"] = {problem_documents.MEDIA_TYPE: schema}
