"""The pick-lists: what an action's parameters are chosen from, asked of PagerDuty within the shared budget."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from daemon import errors
from daemon.api import problems
from daemon.pagerduty import picks
from daemon.text import did_you_mean, quoted
from daemon.views import connection_health

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import sqlalchemy as sa

    from daemon.api import Work
    from daemon.pagerduty import Client
    from daemon.settings import Settings
    from daemon.storage.database import Database
    from daemon.views.connection_health import ConnectionStatus

Pick = TypeVar("Pick")

RATE_LIMITED = 429

FAILURES: dict[int | str, dict[str, Any]] = {
    404: {"model": problems.Problem, "description": "There is no such connection"},
    502: {"model": problems.Problem, "description": "PagerDuty refused the call, or its answer was no good"},
    503: {
        "model": problems.Problem,
        "description": "No call may be made now, or the database cannot be used",
        "headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds, where that is known"}},
    },
    504: {"model": problems.Problem, "description": "PagerDuty did not answer in time"},
}


@dataclass(frozen=True, slots=True)
class Incidents:
    """The newest open incidents."""

    items: list[picks.IncidentPick]
    next: None = None


@dataclass(frozen=True, slots=True)
class Users:
    """Users."""

    items: list[picks.UserPick]
    next: None = None


@dataclass(frozen=True, slots=True)
class Policies:
    """Escalation policies."""

    items: list[picks.PolicyPick]
    next: None = None


class Wanted(BaseModel):
    """Which ones. An unknown parameter is a mistake."""

    model_config = ConfigDict(extra="forbid")

    query: str | None = Field(None, max_length=255, description="Only what holds this text")


Name = Annotated[str, Path(description="The connection")]


def router(database: Database, settings: Settings, work: Work) -> APIRouter:
    """The routes."""
    made = APIRouter(tags=["pick-lists"], prefix="/connections/{name}", responses=FAILURES)
    lists = _Lists(database, settings, work)

    @made.get("/incidents")
    async def incidents(name: Name, wanted: Annotated[Wanted, Query()]) -> Incidents:
        """The newest open incidents; with a query those whose title, id or service holds it."""
        return Incidents(await lists.read(name, picks.incidents, wanted.query))

    @made.get("/users")
    async def users(name: Name, wanted: Annotated[Wanted, Query()]) -> Users:
        """The first hundred users; with a query those whose name or e-mail address holds it."""
        return Users(await lists.read(name, picks.users, wanted.query))

    @made.get("/escalation_policies")
    async def escalation_policies(name: Name, wanted: Annotated[Wanted, Query()]) -> Policies:
        """The first hundred escalation policies; with a query those whose name holds it."""
        return Policies(await lists.read(name, picks.escalation_policies, wanted.query))

    return made


class _Lists:
    """Asks PagerDuty, for so long and no longer."""

    def __init__(self, database: Database, settings: Settings, work: Work) -> None:
        self._database = database
        self._settings = settings
        self._clients = work.clients
        self._patience = work.patience.total_seconds()

    async def read(
        self, name: str, ask: Callable[[Client, str | None], Awaitable[list[Pick]]], text: str | None
    ) -> list[Pick]:
        """One list, or the problem that says why there is none."""
        client = self._clients.get(name)
        if client is None:
            hint = did_you_mean(name, self._clients)
            raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no connection {quoted(name)}{hint}")
        try:
            async with asyncio.timeout(self._patience):
                return await ask(client, text)
        except TimeoutError:
            raise await self._late(name) from None
        except errors.PagerDutyError as error:
            raise _failed(error) from None

    async def _late(self, name: str) -> HTTPException:
        """Why there was no answer in time."""

        def look(tx: sa.Connection) -> tuple[ConnectionStatus, float | None]:
            now = self._database.now(tx)
            (found,) = connection_health.read(tx, {name: self._settings.connections[name]}, (), now)
            return found, None if found.blocked_until is None else (found.blocked_until - now).total_seconds()

        found, blocked = await self._database.read(look)
        if blocked is not None:
            return _unavailable(f"PagerDuty asked for no calls of connection {name} for a while", blocked)
        if not found.budget.left:
            return _unavailable(f"the call budget of connection {name} is used up for the moment", None)
        detail = f"PagerDuty did not answer within {self._patience:g} s"
        return HTTPException(HTTPStatus.GATEWAY_TIMEOUT, detail)


def _failed(error: errors.PagerDutyError) -> HTTPException:
    """A call that did not work, as an answer."""
    if isinstance(error, errors.Temporary):
        if error.status == RATE_LIMITED or error.delay is not None:
            return _unavailable(str(error), None if error.delay is None else error.delay.total_seconds())
        if error.status is None:
            return HTTPException(HTTPStatus.GATEWAY_TIMEOUT, str(error))
    return HTTPException(HTTPStatus.BAD_GATEWAY, str(error))


def _unavailable(detail: str, seconds: float | None) -> HTTPException:
    headers = None if seconds is None else {"Retry-After": str(max(math.ceil(seconds), 1))}
    return HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers)
