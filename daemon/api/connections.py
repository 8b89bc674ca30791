"""/v1/connections: the configured connections, and pick-lists read from PagerDuty within the shared budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from daemon import errors
from daemon.api import problem_documents
from daemon.control import pick_lists
from daemon.pagerduty import picks
from daemon.views import connection_health
from daemon.views.connection_health import ConnectionStatus  # noqa: TC001 - pydantic reads the annotations

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import sqlalchemy as sa

    from daemon.control import Current
    from daemon.pagerduty import Client
    from daemon.storage.database import Database

Pick = TypeVar("Pick")

FAILURES: dict[int | str, dict[str, Any]] = {
    404: {"model": problem_documents.Problem, "description": "Unknown connection"},
    502: {
        "model": problem_documents.Problem,
        "description": "PagerDuty rejected the call or sent an invalid response",
    },
    503: {
        "model": problem_documents.Problem,
        "description": "The call budget is used up, or the database is unavailable",
        "headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds, if known"}},
    },
    504: {"model": problem_documents.Problem, "description": "PagerDuty did not respond in time"},
}


@dataclass(frozen=True, slots=True)
class ConnectionList:
    """The configured connections."""

    items: tuple[ConnectionStatus, ...]
    next: None = None


@dataclass(frozen=True, slots=True)
class Incidents:
    """The newest open incidents."""

    incidents: list[picks.IncidentPick]
    next: None = None


@dataclass(frozen=True, slots=True)
class Users:
    """Users."""

    users: list[picks.UserPick]
    next: None = None


@dataclass(frozen=True, slots=True)
class Policies:
    """Escalation policies."""

    escalation_policies: list[picks.PolicyPick]
    next: None = None


class PickQuery(BaseModel):
    """The filter of a pick-list. Unknown parameters are rejected."""

    model_config = ConfigDict(extra="forbid")

    query: str | None = Field(None, max_length=255, description="Only entries containing this text")


ConnectionName = Annotated[str, Path(description="The connection's name")]


def router(database: Database, current: Current) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["connections"])
    lists = pick_lists.PickLists(database, current)

    @routes.get("/connections")
    async def connections() -> ConnectionList:
        """List the connections."""
        settings = current.settings

        def look(tx: sa.Connection) -> tuple[ConnectionStatus, ...]:
            return connection_health.read(tx, settings.connections, settings.triggers.values(), database.now(tx))

        return ConnectionList(await database.read(look))

    @routes.get("/connections/{name}/incidents", responses=FAILURES)
    async def incidents(name: ConnectionName, pick_query: Annotated[PickQuery, Query()]) -> Incidents:
        """List the newest open incidents; with a query, those whose title, id or service contains it."""
        return Incidents(await _read(lists, name, picks.incidents, pick_query.query))

    @routes.get("/connections/{name}/users", responses=FAILURES)
    async def users(name: ConnectionName, pick_query: Annotated[PickQuery, Query()]) -> Users:
        """List the first hundred users; with a query, those whose name or e-mail address contains it."""
        return Users(await _read(lists, name, picks.users, pick_query.query))

    @routes.get("/connections/{name}/escalation_policies", responses=FAILURES)
    async def escalation_policies(name: ConnectionName, pick_query: Annotated[PickQuery, Query()]) -> Policies:
        """List the first hundred escalation policies; with a query, those whose name contains it."""
        return Policies(await _read(lists, name, picks.escalation_policies, pick_query.query))

    return routes


async def _read(
    lists: pick_lists.PickLists, name: str, ask: Callable[[Client, str | None], Awaitable[list[Pick]]], text: str | None
) -> list[Pick]:
    """Return a list. Raises HTTPException if PagerDuty does not provide it."""
    try:
        return await lists.read(name, ask, text)
    except errors.PagerDutyError as error:
        raise _failed(error) from None


def _failed(error: errors.PagerDutyError) -> HTTPException:
    """Return the error for a failed call."""
    if isinstance(error, errors.Temporary):
        if error.status == HTTPStatus.TOO_MANY_REQUESTS or error.delay is not None:
            return _unavailable(str(error), None if error.delay is None else error.delay.total_seconds())
        if error.status is None:
            return HTTPException(HTTPStatus.GATEWAY_TIMEOUT, str(error))
    return HTTPException(HTTPStatus.BAD_GATEWAY, str(error))


def _unavailable(detail: str, seconds: float | None) -> HTTPException:
    headers = None if seconds is None else {"Retry-After": str(max(math.ceil(seconds), 1))}
    return HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers)
