"""/v1/replays: sending many deliveries again."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from daemon.api import problem_documents
from daemon.api.queries import PageQuery  # noqa: TC001 - FastAPI reads the annotations
from daemon.control import replays as control
from daemon.model import DeliveryState
from daemon.storage.replays import Matches  # noqa: TC001 - FastAPI reads the annotations
from daemon.views import paging, replay_list

if TYPE_CHECKING:
    from daemon.control import Current
    from daemon.storage.database import Database

LOCATION: dict[str, Any] = {"Location": {"schema": {"type": "string"}, "description": "The URL of the replay"}}
ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {"description": "The replay is running", "headers": LOCATION},
    200: {"description": "With `dry_run`: what a replay would send again. Nothing is sent"},
    413: {"model": problem_documents.Problem, "description": "The body is too large"},
}
NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": problem_documents.Problem, "description": "Unknown replay, or it was pruned"}
}


DryRun = Annotated[bool, Query(description="Only count what a replay would send again, and what it leaves out")]


class ReplayRequest(BaseModel):
    """The deliveries to send again: those created in a period that match every filter."""

    model_config = ConfigDict(extra="forbid")

    since: AwareDatetime = Field(description="Start of the period, with an offset")
    until: AwareDatetime | None = Field(None, description="End of the period; the default is now")
    trigger: str | None = Field(None, description="Only deliveries of this trigger")
    target: str | None = Field(None, description="Only deliveries to this target")
    state: Literal[DeliveryState.DELIVERED, DeliveryState.DEAD] | None = Field(
        None, description="Only deliveries in this state; the default is both"
    )


def router(database: Database, current: Current) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["replays"])

    @routes.post("/replays", status_code=HTTPStatus.ACCEPTED, responses=ACCEPTED)
    async def create(
        request: ReplayRequest, response: Response, *, dry_run: DryRun = False
    ) -> replay_list.ReplayItem | Matches:
        """Send delivered or dead deliveries again, with the same ids; a daemon does so part by part."""
        new = control.NewReplay(**dict(request))
        if dry_run:
            response.status_code = HTTPStatus.OK
            return await control.count(database, current.settings, new)
        item = await control.create(database, current.settings, current.services, new)
        response.headers["Location"] = f"/v1/replays/{item.id}"
        return item

    @routes.get("/replays")
    async def list_replays(query: Annotated[PageQuery, Query()]) -> paging.Page[replay_list.ReplayItem]:
        """List replays, oldest first."""
        return await database.read(replay_list.read, **query.model_dump())

    @routes.get("/replays/{id}", responses=NOT_FOUND)
    async def one_replay(
        number: Annotated[int, Path(alias="id", description="The replay's id")],
    ) -> replay_list.ReplayItem:
        """Show a replay."""
        return problem_documents.existing(await database.read(replay_list.find, number), f"replay {number}")

    @routes.post("/replays/{id}/cancel", responses=NOT_FOUND)
    async def cancel(
        number: Annotated[int, Path(alias="id", description="The replay's id")],
    ) -> replay_list.ReplayItem:
        """Cancel a replay: unsent deliveries return to their previous state. A finished replay is unchanged."""
        return await control.cancel(database, current.services, number)

    return routes
