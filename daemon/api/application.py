"""The application: its routes, and how its OpenAPI document looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI

import daemon
from daemon.api import access, acting, guard, operations, picking, problems, reading, sending

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from daemon.api import Work
    from daemon.settings import Settings
    from daemon.storage.database import Database

FIRST_ERROR = "4"


class Application(FastAPI):
    """FastAPI with problem documents in the place of its own errors."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        if self.openapi_schema is None:
            made = super().openapi()
            for path in made["paths"].values():
                for operation in path.values():
                    _tell_problems(operation["responses"])
            for own in ("HTTPValidationError", "ValidationError"):
                made["components"]["schemas"].pop(own, None)
            self.openapi_schema = made
        return self.openapi_schema


def create(database: Database, settings: Settings, work: Work, metrics: CollectorRegistry | None) -> FastAPI:
    """The application. The token is asked for under /v1 alone."""
    app = Application(
        title="pagerelay",
        version=daemon.__version__,
        summary="PagerDuty in, signed webhooks out",
        docs_url=None,  # these pages load scripts from elsewhere, which a closed network does not have
        redoc_url=None,
        redirect_slashes=False,
        responses={503: {"model": problems.Problem, "description": "The database cannot be used"}},
    )
    app.add_middleware(guard.Guard)
    problems.install(app)
    app.include_router(operations.router(database, settings, metrics))
    token = settings.api.token if settings.api is not None else None
    for router in (
        reading.router(database, settings),
        acting.router(database, settings, work),
        sending.router(database, settings, work),
        picking.router(database, settings, work),
    ):
        app.include_router(
            router, prefix="/v1", dependencies=[Depends(access.bearer(token))], responses=access.REFUSALS
        )
    return app


def _tell_problems(responses: dict[str, Any]) -> None:
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    for status, response in responses.items():
        if status >= FIRST_ERROR:
            response["content"] = {problems.MEDIA_TYPE: schema}
