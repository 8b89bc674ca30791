"""The FastAPI application: its routes and its OpenAPI document."""

from __future__ import annotations

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
from daemon.settings import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry
    from starlette.types import ASGIApp, Receive, Scope, Send

    from daemon.control import Services
    from daemon.page.application import PageApplication
    from daemon.settings import Settings
    from daemon.storage.database import Database

FIRST_ERROR = "4"
CONFIG_HEADER = "Pagerelay-Config-Hash"


class Application(FastAPI):
    """FastAPI with problem documents for errors. ``path_prefix`` is what a reverse proxy puts before every path."""

    path_prefix = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, whether or not the proxy has removed the prefix."""
        scope["root_path"] = self.path_prefix
        await super().__call__(scope, receive, send)

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
    app.path_prefix = "" if settings.api is None else settings.api.root_path
    page = _page(database, settings, services)
    refused = refusals.Refusals(page)
    if settings.api is not None:
        app.add_middleware(hosts.Hosts, settings.api.hosts, refused)
    app.add_middleware(request_limits.RequestLimits, refused)
    problem_documents.install(app)
    own = health.router(database, settings, metrics)
    app.include_router(own)
    refused.own = {app.openapi_url, *(route.path for route in own.routes if isinstance(route, Route))}
    admit, stamp = Depends(access.bearer(settings.api)), Depends(_stamp(fingerprint(settings)))
    for router in (
        status.router(database, settings),
        doctor.router(database, settings, services),
        connections.router(database, settings, services),
        triggers.router(database, settings),
        targets.router(database, settings, services),
        events.router(database),
        deliveries.router(database, settings, services),
        actions.router(database, settings, services),
        replays.router(database, settings, services),
    ):
        app.include_router(
            router,
            prefix=refusals.PREFIX,
            dependencies=[admit, stamp],
            responses=access.REFUSALS,
        )
    app.include_router(
        reload.router(settings, services), prefix=refusals.PREFIX, dependencies=[stamp], responses=access.REFUSALS
    )
    if page is not None:
        app.router.default = _paths_of_the_page(app.router.default, page, refused)
    return app


def _page(database: Database, settings: Settings, services: Services) -> PageApplication | None:
    """Return the page's application, if there is a page."""
    api = settings.api
    if api is None or api.token is None or not api.page:
        return None
    from daemon.page import application  # noqa: PLC0415 - costs nothing while it is off

    return application.PageApplication(database, settings, api, services)


def _paths_of_the_page(unknown: ASGIApp, page: PageApplication, refused: refusals.Refusals) -> ASGIApp:
    """Return the application for every path that the API does not have; below /v1 that is none."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await (page if refused.is_of_page(scope) else unknown)(scope, receive, send)

    return serve


def _stamp(config_hash: str) -> Callable[[Response], None]:
    """Return a dependency that tells the command line with which configuration this daemon runs."""

    def stamp(response: Response) -> None:
        response.headers[CONFIG_HEADER] = config_hash

    return stamp


def _use_problem_documents(responses: dict[str, Any]) -> None:
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    for code, response in responses.items():
        if code >= FIRST_ERROR:
            response["content"] = {problem_documents.MEDIA_TYPE: schema}
