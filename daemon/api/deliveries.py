"""/v1/deliveries: deliveries with their attempts, and sending one again."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field

from daemon.api import problem_documents
from daemon.api.queries import IncidentQuery
from daemon.control import deliveries as control
from daemon.views import delivery_list, paging

if TYPE_CHECKING:
    from daemon.control import Current
    from daemon.storage.database import Database

NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": problem_documents.Problem, "description": "Unknown delivery, or it was pruned"}
}
NO_MESSAGE: dict[int | str, dict[str, Any]] = {
    404: {"model": problem_documents.Problem, "description": "Unknown delivery, or it or its message was pruned"},
}


class DeliveryQuery(IncidentQuery):
    """Filters of deliveries."""

    trigger: str | None = Field(None, description="Only deliveries of this trigger")
    target: str | None = Field(None, description="Only deliveries to this target")
    state: delivery_list.StateFilter | None = Field(
        None, description="Only deliveries in this state; `retrying`: pending ones with a failed attempt"
    )


def router(database: Database, current: Current) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["deliveries"])

    @routes.get("/deliveries")
    async def deliveries(query: Annotated[DeliveryQuery, Query()]) -> paging.Page[delivery_list.DeliveryItem]:
        """List deliveries, oldest first."""
        return await database.read(delivery_list.read, **query.model_dump())

    @routes.get("/deliveries/{id}", responses=NOT_FOUND)
    async def delivery(
        number: Annotated[int, Path(alias="id", description="The delivery's id")],
    ) -> delivery_list.DeliveryDetail:
        """Show a delivery with its attempts."""
        return problem_documents.existing(await database.read(delivery_list.find, number), f"delivery {number}")

    @routes.post("/deliveries/{id}/redeliver", status_code=HTTPStatus.ACCEPTED, responses=NO_MESSAGE)
    async def redeliver(
        number: Annotated[int, Path(alias="id", description="The delivery's id")],
    ) -> delivery_list.DeliveryItem:
        """Send a delivery again, or immediately if it is pending."""
        return await control.redeliver(database, current.settings, current.services, number)

    return routes
