"""Sending again, and holding targets: what changes when deliveries are made. What it shows is ``views``' business."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal

import structlog
from fastapi import APIRouter, Path, Query, Response
from fastapi.exceptions import RequestValidationError
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from daemon import errors, text
from daemon.api import problems
from daemon.api.reading import PageQuery  # noqa: TC001 - read while running
from daemon.delivery import sample_delivery
from daemon.model import PAUSED_BY_HAND, DeliveryState
from daemon.storage import replays, targets
from daemon.storage.database import system_clock
from daemon.text import did_you_mean
from daemon.views import delivery_list, paging, replay_list, target_health

if TYPE_CHECKING:
    import sqlalchemy as sa

    from daemon.api import Work
    from daemon.settings import Settings
    from daemon.storage.database import Database

log = structlog.get_logger()

LONGEST_TRIAL = timedelta(seconds=60)
LOCATION: dict[str, Any] = {"Location": {"schema": {"type": "string"}, "description": "Where to look for its end"}}
ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {"description": "It goes on from now on", "headers": LOCATION},
    413: {"model": problems.Problem, "description": "The body is too large"},
}
NO_DELIVERY: dict[int | str, dict[str, Any]] = {
    404: {"model": problems.Problem, "description": "There is no such delivery, or it or its message was pruned"},
}
NO_REPLAY: dict[int | str, dict[str, Any]] = {
    404: {"model": problems.Problem, "description": "There is no such replay, or it was pruned"}
}
NO_TARGET: dict[int | str, dict[str, Any]] = {
    404: {"model": problems.Problem, "description": "There is no such target in the configuration"}
}


@dataclass(frozen=True, slots=True)
class Trials:
    """How each sample went."""

    items: list[sample_delivery.Trial]
    next: None = None


class ReplayRequest(BaseModel):
    """Which deliveries are to be sent again: those that were made in this time and are all of the others."""

    model_config = ConfigDict(extra="forbid")

    since: AwareDatetime = Field(description="From when, with the offset")
    until: AwareDatetime | None = Field(None, description="Up to when; without it, up to now")
    trigger: str | None = Field(None, description="Only what this trigger sends")
    target: str | None = Field(None, description="Only for this target")
    state: Literal[DeliveryState.DELIVERED, DeliveryState.DEAD] | None = Field(
        None, description="Only in this state; without it, both"
    )


Name = Annotated[str, Path(description="The target's name")]


def router(database: Database, settings: Settings, work: Work) -> APIRouter:
    """The routes."""
    made = APIRouter(tags=["sending"])
    _add_deliveries(made, database, settings, work)
    _add_replays(made, database, settings, work)
    _add_targets(made, database, settings, work)
    return made


def _add_deliveries(made: APIRouter, database: Database, settings: Settings, work: Work) -> None:
    @made.post("/deliveries/{id}/redeliver", status_code=HTTPStatus.ACCEPTED, responses=NO_DELIVERY)
    async def redeliver(
        number: Annotated[int, Path(alias="id", description="The delivery's id")],
    ) -> delivery_list.DeliveryItem:
        """Send one delivery again, or at once if it is still to be sent."""

        def again(tx: sa.Connection) -> delivery_list.DeliveryDetail | None:
            found = delivery_list.find(tx, number)
            if found is None or found.delivery.target not in settings.targets:
                return found
            return delivery_list.find(tx, number) if replays.redeliver(tx, number, database.now(tx)) else None

        found = await database.write(again)
        if found is None:
            detail = f"there is no delivery {number}, or its message is gone (it may have been pruned)"
            raise HTTPException(HTTPStatus.NOT_FOUND, detail)
        item = found.delivery
        if item.target not in settings.targets:
            raise errors.UsageError(f"the target {text.quoted(item.target)} is not in the configuration any more")
        log.info("delivery.renewed", delivery=item.id, target=item.target)
        work.wake_targets([item.target])
        return item


def _add_replays(made: APIRouter, database: Database, settings: Settings, work: Work) -> None:
    @made.post("/replays", status_code=HTTPStatus.ACCEPTED, responses=ACCEPTED)
    async def create(asked: ReplayRequest, response: Response) -> replay_list.ReplayItem:
        """Send what was delivered or is dead again, with the same ids. A daemon carries it out, part by part."""
        _check(asked, settings)

        def begin(tx: sa.Connection) -> replay_list.ReplayItem | None:
            now = database.now(tx)
            wanted = replays.ReplayFilter(asked.since, asked.until or now, asked.trigger, asked.target, asked.state)
            return replay_list.find(tx, replays.create(tx, wanted, settings.targets, now))

        item = await database.write(begin)
        assert item is not None  # noqa: S101 - for the type checker: it is in the same transaction
        log.info("replay.accepted", replay=item.id, deliveries=item.total)
        work.wake_replays()
        response.headers["Location"] = f"/v1/replays/{item.id}"
        return item

    @made.get("/replays")
    async def list_replays(wanted: Annotated[PageQuery, Query()]) -> paging.Page[replay_list.ReplayItem]:
        """Replays, oldest first."""
        return await database.read(replay_list.read, **wanted.model_dump())

    @made.get("/replays/{id}", responses=NO_REPLAY)
    async def one_replay(
        number: Annotated[int, Path(alias="id", description="The replay's id")],
    ) -> replay_list.ReplayItem:
        """One replay."""
        return _found(await database.read(replay_list.find, number), number)

    @made.post("/replays/{id}/cancel", responses=NO_REPLAY)
    async def cancel(
        number: Annotated[int, Path(alias="id", description="The replay's id")],
    ) -> replay_list.ReplayItem:
        """Stop a replay: what is not sent becomes again what it was. One that has ended stays as it is."""

        def stop(tx: sa.Connection) -> replay_list.ReplayItem | None:
            if replay_list.find(tx, number) is not None:
                replays.cancel(tx, number, database.now(tx))
            return replay_list.find(tx, number)

        item = _found(await database.write(stop), number)
        log.info("replay.cancelled", replay=item.id)
        work.wake_replays()
        return item


def _add_targets(made: APIRouter, database: Database, settings: Settings, work: Work) -> None:
    def shown(tx: sa.Connection, name: str) -> target_health.TargetStatus:
        (found,) = target_health.read(tx, {name: settings.targets[name]}, database.now(tx))
        return found

    @made.post("/targets/{name}/pause", responses=NO_TARGET)
    async def pause(name: Name) -> target_health.TargetStatus:
        """Send nothing to a target until it is resumed: what is for it waits."""
        _must_be_target(name, settings)

        def hold(tx: sa.Connection) -> target_health.TargetStatus:
            targets.pause(tx, name, PAUSED_BY_HAND, database.now(tx))
            return shown(tx, name)

        return await database.write(hold)

    @made.post("/targets/{name}/resume", responses=NO_TARGET)
    async def resume(name: Name) -> target_health.TargetStatus:
        """Send to a target again, at once."""
        _must_be_target(name, settings)

        def release(tx: sa.Connection) -> target_health.TargetStatus:
            targets.resume(tx, name, database.now(tx))
            return shown(tx, name)

        item = await database.write(release)
        work.wake_targets([name])
        return item

    @made.post("/targets/{name}/test", responses=NO_TARGET)
    async def test(name: Name) -> Trials:
        """Send a signed sample of each kind of message that a target gets, at once and past the queue."""
        _must_be_target(name, settings)
        target = settings.targets[name]
        kinds = sample_delivery.kinds(target, settings.triggers.values(), settings.actions_notify, settings.alerts_to)
        return Trials(await sample_delivery.run(target, kinds, system_clock(), LONGEST_TRIAL))


def _check(asked: ReplayRequest, settings: Settings) -> None:
    """Raise RequestValidationError with everything that is wrong with a replay."""
    mistakes = []
    for key, name, known in (
        ("trigger", asked.trigger, settings.triggers),
        ("target", asked.target, settings.targets),
    ):
        if name is not None and name not in known:
            mistakes.append((key, f"is no {key}{did_you_mean(name, known)}"))
    if asked.until is not None and asked.until < asked.since:
        mistakes.append(("until", "must not be before since"))
    if mistakes:
        raise RequestValidationError(
            [{"type": "value_error", "loc": ("body", key), "msg": what} for key, what in mistakes]
        )


def _found(item: replay_list.ReplayItem | None, number: int) -> replay_list.ReplayItem:
    if item is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no replay {number} (it may have been pruned)")
    return item


def _must_be_target(name: str, settings: Settings) -> None:
    if name not in settings.targets:
        hint = did_you_mean(name, settings.targets)
        raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no target {text.quoted(name)}{hint}")
