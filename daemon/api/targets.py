"""/v1/targets: the configured targets, and pausing, resuming and testing one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path

from daemon.api import problem_documents
from daemon.control import targets as control
from daemon.delivery import sample_delivery  # noqa: TC001 - FastAPI reads the annotations
from daemon.views import target_health

if TYPE_CHECKING:
    from daemon.control import Current
    from daemon.storage.database import Database

NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": problem_documents.Problem, "description": "Unknown target"}
}

TargetName = Annotated[str, Path(description="The target's name")]


@dataclass(frozen=True, slots=True)
class TargetList:
    """The configured targets."""

    items: tuple[target_health.TargetStatus, ...]
    next: None = None


@dataclass(frozen=True, slots=True)
class TestResults:
    """The result of each sample."""

    items: list[sample_delivery.Trial]
    next: None = None


def router(database: Database, current: Current) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["targets"])

    @routes.get("/targets")
    async def targets() -> TargetList:
        """List the targets."""
        known = current.settings.targets
        return TargetList(await database.read(lambda tx: target_health.read(tx, known, database.now(tx))))

    @routes.post("/targets/{name}/pause", responses=NOT_FOUND)
    async def pause(name: TargetName) -> target_health.TargetStatus:
        """Send nothing to a target until it is resumed; its messages wait."""
        return await control.pause(database, current.settings, current.services, name)

    @routes.post("/targets/{name}/resume", responses=NOT_FOUND)
    async def resume(name: TargetName) -> target_health.TargetStatus:
        """Send to a target again, immediately."""
        return await control.resume(database, current.settings, current.services, name)

    @routes.post("/targets/{name}/test", responses=NOT_FOUND)
    async def test(name: TargetName) -> TestResults:
        """Send a signed sample of each message type that a target receives, immediately and past the queue."""
        return TestResults(await control.test(current.settings, name))

    return routes
