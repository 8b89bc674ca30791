"""/v1/replays: sending many deliveries again."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal

import structlog
from fastapi import APIRouter, Path, Query, Response
from fastapi.exceptions import RequestValidationError
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from daemon.api import problem_documents
from daemon.api.queries import PageQuery  # noqa: TC001 - FastAPI reads the annotations
from daemon.model import DeliveryState
from daemon.storage import replays
from daemon.text import did_you_mean
from daemon.views import paging, replay_list

if TYPE_CHECKING:
    import sqlalchemy as sa

    from daemon.api import Services
    from daemon.settings import Settings
    from daemon.storage.database import Database

log = structlog.get_logger()

LOCATION: dict[str, Any] = {"Location": {"schema": {"type": "string"}, "description": "The URL of the replay"}}
ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {"description": "The replay is running", "headers": LOCATION},
    413: {"model": problem_documents.Problem, "description": "The body is too large"},
}
NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": problem_documents.Problem, "description": "Unknown replay, or it was pruned"}
}


class ReplayRequest(BaseModel):
    """The deliveries to send again: those created in a period that match every filter."""

    model_config = ConfigDict(extra="forbid")

    since: AwareDatetime = Field(description="Start of the period, with an offset")
    until: AwareDatetime | None = Field(None, description="End of the period; the default is now")
    trigger: str | None = Field(None, description="Only deliveries of this trigger")
    target: str | None = Field(None, description="Only deliveries for this target")
    state: Literal[DeliveryState.DELIVERED, DeliveryState.DEAD] | None = Field(
        None, description="Only deliveries in this state; the default is both"
    )


def router(database: Database, settings: Settings, services: Services) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["replays"])

    @routes.post("/replays", status_code=HTTPStatus.ACCEPTED, responses=ACCEPTED)
    async def create(request: ReplayRequest, response: Response) -> replay_list.ReplayItem:
        """Send delivered or dead deliveries again, with the same ids; a daemon does so part by part."""
        _check(request, settings)

        item = await database.write(_create, database, settings, request)
        log.info("replay.accepted", replay=item.id, deliveries=item.total)
        services.wake_replays()
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
        item = await database.write(_cancel, database, number)
        log.info("replay.cancelled", replay=item.id)
        services.wake_replays()
        return item

    return routes


def _create(
    tx: sa.Connection, database: Database, settings: Settings, request: ReplayRequest
) -> replay_list.ReplayItem:
    now = database.now(tx)
    until = request.until or now
    chosen = replays.ReplayFilter(request.since, until, request.trigger, request.target, request.state)
    number = replays.create(tx, chosen, settings.targets, now)
    return problem_documents.existing(replay_list.find(tx, number), f"replay {number}")


def _cancel(tx: sa.Connection, database: Database, number: int) -> replay_list.ReplayItem:
    problem_documents.existing(replay_list.find(tx, number), f"replay {number}")
    replays.cancel(tx, number, database.now(tx))
    return problem_documents.existing(replay_list.find(tx, number), f"replay {number}")


def _check(request: ReplayRequest, settings: Settings) -> None:
    """Raise RequestValidationError with every mistake in a replay request."""
    mistakes = []
    for key, name, known in (
        ("trigger", request.trigger, settings.triggers),
        ("target", request.target, settings.targets),
    ):
        if name is not None and name not in known:
            mistakes.append((key, f"unknown {key}{did_you_mean(name, known)}"))
    if request.until is not None and request.until < request.since:
        mistakes.append(("until", "must not be before since"))
    if mistakes:
        raise RequestValidationError(
            [{"type": "value_error", "loc": ("body", key), "msg": message} for key, message in mistakes]
        )
