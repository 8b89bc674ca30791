"""The FastAPI application: its routes and its OpenAPI document."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI, Response
from starlette.routing import Route

import daemon
from daemon.api import (
    access,
    actions,
    connections,
    deliveries,
    doctor,
    events,
    health,
    hosts,
    problem_documents,
    refusals,
    reload,
    replays,
    request_limits,
    status,
    targets,
    triggers,
)
from daemon.page.sessions import SignInAttempts

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry
    from starlette.types import ASGIApp, Receive, Scope, Send

    from daemon.control import Current
    from daemon.page.application import PageApplication
    from daemon.storage.database import Database

FIRST_ERROR = "4"
CONFIG_HEADER = "Pagerelay-Config-Hash"


class Application(FastAPI):
    """FastAPI with problem documents for errors."""

    database: Database
    current: Current

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, whether or not a reverse proxy has removed the prefix that it puts before every path."""
        settings = self.current.settings.api
        scope["root_path"] = "" if settings is None else settings.root_path
        await super().__call__(scope, receive, send)

    @functools.cached_property
    def page(self) -> PageApplication:
        """Return the page's application."""
        from daemon.page import application  # noqa: PLC0415 - costs nothing while it is off

        return application.PageApplication(self.database, self.current)

    def page_if_on(self) -> PageApplication | None:
        """Return the page's application, if there is a page now."""
        settings = self.current.settings.api
        return self.page if settings is not None and settings.has_page else None

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


def create(database: Database, current: Current, metrics: CollectorRegistry | None) -> FastAPI:
    """Return the application, which outlives reloads. Only /v1 requires the token."""
    app = Application(
        title="pagerelay",
        version=daemon.__version__,
        summary="PagerDuty in, signed webhooks out",
        docs_url=None,  # these pages load scripts from the internet
        redoc_url=None,
        redirect_slashes=False,
        responses={503: {"model": problem_documents.Problem, "description": "The database is unavailable"}},
    )
    app.database, app.current = database, current
    refused = refusals.Refusals(app.page_if_on)
    app.add_middleware(hosts.Hosts, current, refused)
    app.add_middleware(request_limits.RequestLimits, refused)
    problem_documents.install(app)
    own = health.router(database, current, metrics)
    app.include_router(own)
    refused.own = {app.openapi_url, *(route.path for route in own.routes if isinstance(route, Route))}
    admit, stamp = access.bearer(current, SignInAttempts(time.monotonic)), Depends(_stamp(current))
    for router in (
        status.router(database, current),
        doctor.router(database, current),
        connections.router(database, current),
        triggers.router(database, current),
        targets.router(database, current),
        events.router(database),
        deliveries.router(database, current),
        actions.router(database, current),
        replays.router(database, current),
    ):
        app.include_router(
            router, prefix=refusals.PREFIX, dependencies=[Depends(admit), stamp], responses=access.REFUSALS
        )
    app.include_router(
        reload.router(current, admit), prefix=refusals.PREFIX, dependencies=[stamp], responses=access.REFUSALS
    )
    app.router.default = _paths_of_the_page(app.router.default, refused)
    return app


def _paths_of_the_page(unknown: ASGIApp, refused: refusals.Refusals) -> ASGIApp:
    """Return the application for every path that the API does not have; below /v1 that is none."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await (refused.page_of(scope) or unknown)(scope, receive, send)

    return serve


def _stamp(current: Current) -> Callable[[Response], None]:
    """Return a dependency that tells the command line with which configuration this daemon runs."""

    def stamp(response: Response) -> None:
        response.headers[CONFIG_HEADER] = current.config_hash

    return stamp


def _use_problem_documents(responses: dict[str, Any]) -> None:
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    for code, response in responses.items():
        if code >= FIRST_ERROR:
            response["content"] = {problem_documents.MEDIA_TYPE: schema}
