"""/v1/targets: the configured targets, and pausing, resuming and testing one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path
from starlette.exceptions import HTTPException

from daemon.api import problem_documents
from daemon.delivery import sample_delivery
from daemon.model import PAUSED_BY_HAND
from daemon.storage import targets as stored_targets
from daemon.storage.database import system_clock
from daemon.text import did_you_mean, quoted
from daemon.views import target_health

if TYPE_CHECKING:
    import sqlalchemy as sa

    from daemon.api import Services
    from daemon.settings import Settings
    from daemon.storage.database import Database

LONGEST_TEST = timedelta(seconds=60)
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


def router(database: Database, settings: Settings, services: Services) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["targets"])

    @routes.get("/targets")
    async def targets() -> TargetList:
        """List the targets."""
        return TargetList(await database.read(lambda tx: target_health.read(tx, settings.targets, database.now(tx))))

    @routes.post("/targets/{name}/pause", responses=NOT_FOUND)
    async def pause(name: TargetName) -> target_health.TargetStatus:
        """Send nothing to a target until it is resumed; its messages wait."""
        _must_be_known(name, settings)

        def write(tx: sa.Connection) -> target_health.TargetStatus:
            stored_targets.pause(tx, name, PAUSED_BY_HAND, database.now(tx))
            return _status(tx, database, settings, name)

        return await database.write(write)

    @routes.post("/targets/{name}/resume", responses=NOT_FOUND)
    async def resume(name: TargetName) -> target_health.TargetStatus:
        """Send to a target again, immediately."""
        _must_be_known(name, settings)

        def write(tx: sa.Connection) -> target_health.TargetStatus:
            stored_targets.resume(tx, name, database.now(tx))
            return _status(tx, database, settings, name)

        item = await database.write(write)
        services.wake_targets([name])
        return item

    @routes.post("/targets/{name}/test", responses=NOT_FOUND)
    async def test(name: TargetName) -> TestResults:
        """Send a signed sample of each message type that a target receives, immediately and past the queue."""
        _must_be_known(name, settings)
        target = settings.targets[name]
        kinds = sample_delivery.kinds(target, settings.triggers.values(), settings.actions_notify, settings.alerts_to)
        return TestResults(await sample_delivery.run(target, kinds, system_clock(), LONGEST_TEST))

    return routes


def _status(tx: sa.Connection, database: Database, settings: Settings, name: str) -> target_health.TargetStatus:
    (item,) = target_health.read(tx, {name: settings.targets[name]}, database.now(tx))
    return item


def _must_be_known(name: str, settings: Settings) -> None:
    if name not in settings.targets:
        hint = did_you_mean(name, settings.targets)
        raise HTTPException(HTTPStatus.NOT_FOUND, f"unknown target {quoted(name)}{hint}")
