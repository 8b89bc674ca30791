"""GET /v1/events: the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from daemon.api.queries import IncidentQuery
from daemon.views import event_list, paging

if TYPE_CHECKING:
    from daemon.storage.database import Database


class EventQuery(IncidentQuery):
    """Filters of the journal."""

    trigger: str | None = Field(None, description="Only events that this trigger sends")
    type: str | None = Field(None, description="Only events of this type, such as incident.resolved")
    connection: str | None = Field(None, description="Only events of this connection")


def router(database: Database) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["events"])

    @routes.get("/events")
    async def events(query: Annotated[EventQuery, Query()]) -> paging.Page[event_list.EventItem]:
        """List the journal, oldest first."""
        return await database.read(event_list.read, **query.model_dump())

    return routes
