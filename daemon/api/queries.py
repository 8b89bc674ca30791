"""The reading part of /v1. What it shows is ``views``' business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from daemon.api import problems
from daemon.model import DeliveryState
from daemon.views import connection_health, delivery_list, event_list, overview, paging, target_health, trigger_health

if TYPE_CHECKING:
    import sqlalchemy as sa

    from daemon.settings import Settings
    from daemon.storage.database import Database

Number = Annotated[int, Path(alias="id", description="The delivery's id")]

NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": problems.Problem, "description": "There is no such delivery, or it was pruned"}
}


@dataclass(frozen=True, slots=True)
class Connections:
    """The configured connections."""

    items: tuple[connection_health.ConnectionStatus, ...]
    next: None = None


@dataclass(frozen=True, slots=True)
class Triggers:
    """The configured triggers."""

    items: tuple[trigger_health.TriggerStatus, ...]
    next: None = None


@dataclass(frozen=True, slots=True)
class Targets:
    """The configured targets."""

    items: tuple[target_health.TargetStatus, ...]
    next: None = None


class PageQuery(BaseModel):
    """What every list can be asked for. An unknown parameter is a mistake."""

    model_config = ConfigDict(extra="forbid")

    after: str | None = Field(None, description="A cursor: what comes after it. Take `next` of the page before")
    limit: int = Field(100, ge=1, le=paging.LARGEST_PAGE, description="The longest that the page may be")


class AboutIncidents(PageQuery):
    """What a list of what concerns incidents can be asked for."""

    incident: str | None = Field(None, description="Only of this incident")


class OfEvents(AboutIncidents):
    """Which events."""

    trigger: str | None = Field(None, description="Only what this trigger sends")
    type: str | None = Field(None, description="Only of this type, such as incident.resolved")
    connection: str | None = Field(None, description="Only of this connection")


class OfDeliveries(AboutIncidents):
    """Which deliveries."""

    trigger: str | None = Field(None, description="Only what this trigger sends")
    target: str | None = Field(None, description="Only for this target")
    state: DeliveryState | None = Field(None, description="Only in this state")


def router(database: Database, settings: Settings) -> APIRouter:
    """The routes."""
    made = APIRouter(tags=["reading"])

    @made.get("/status")
    async def status() -> overview.Overview:
        """Everything at a glance."""
        parts = settings.connections, settings.triggers, settings.targets
        return await database.read(lambda tx: overview.read(tx, *parts, database.now(tx)))

    @made.get("/connections")
    async def connections() -> Connections:
        """The connections."""

        def look(tx: sa.Connection) -> tuple[connection_health.ConnectionStatus, ...]:
            return connection_health.read(tx, settings.connections, settings.triggers.values(), database.now(tx))

        return Connections(await database.read(look))

    @made.get("/triggers")
    async def triggers() -> Triggers:
        """The triggers."""
        return Triggers(await database.read(trigger_health.read, settings.triggers))

    @made.get("/targets")
    async def targets() -> Targets:
        """The targets."""
        return Targets(await database.read(lambda tx: target_health.read(tx, settings.targets, database.now(tx))))

    @made.get("/events")
    async def events(wanted: Annotated[OfEvents, Query()]) -> paging.Page[event_list.EventItem]:
        """The journal, oldest first."""
        return await database.read(event_list.read, **wanted.model_dump())

    @made.get("/deliveries")
    async def deliveries(wanted: Annotated[OfDeliveries, Query()]) -> paging.Page[delivery_list.DeliveryItem]:
        """Deliveries, oldest first."""
        return await database.read(delivery_list.read, **wanted.model_dump())

    @made.get("/deliveries/{id}", responses=NOT_FOUND)
    async def delivery(
        number: Annotated[int, Path(alias="id", description="The delivery's id")],
    ) -> delivery_list.DeliveryDetail:
        """One delivery with its attempts."""
        found = await database.read(delivery_list.find, number)
        if found is None:
            raise HTTPException(404, f"there is no delivery {number} (it may have been pruned)")
        return found

    return made
