"""Sending many deliveries again, and cancelling that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - a field's type
from typing import TYPE_CHECKING

import structlog

from daemon import errors
from daemon.storage import replays
from daemon.text import did_you_mean
from daemon.views import replay_list

if TYPE_CHECKING:
    import sqlalchemy as sa

    from daemon.control.services import Services
    from daemon.model import DeliveryState
    from daemon.settings import Settings
    from daemon.storage.database import Database
    from daemon.storage.replays import Matches
    from daemon.views.replay_list import ReplayItem

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class NewReplay:
    """A request for a replay: the deliveries created in a period that match every filter. ``until`` None means now."""

    since: datetime
    until: datetime | None = None
    trigger: str | None = None
    target: str | None = None
    state: DeliveryState | None = None


async def create(database: Database, settings: Settings, services: Services, new: NewReplay) -> ReplayItem:
    """Create a replay, which a daemon carries out part by part. Raises InvalidRequest and UsageError."""
    check(new, settings)

    def write(tx: sa.Connection) -> ReplayItem:
        now = database.now(tx)
        number = replays.create(tx, _filter(new, now), settings.targets, now)
        return _existing(replay_list.find(tx, number), number)

    item = await database.write(write)
    log.info("replay.accepted", replay=item.id, deliveries=item.total)
    services.wake_replays()
    services.changes.notify()
    return item


async def count(database: Database, settings: Settings, new: NewReplay) -> Matches:
    """Return what a replay would send again. Raises InvalidRequest and UsageError."""
    check(new, settings)

    def read(tx: sa.Connection) -> Matches:
        return replays.count(tx, _filter(new, database.now(tx)), settings.targets)

    return await database.read(read)


async def cancel(database: Database, services: Services, number: int) -> ReplayItem:
    """Cancel a replay: unsent deliveries return to their previous state. Raises NotFound."""

    def write(tx: sa.Connection) -> ReplayItem:
        _existing(replay_list.find(tx, number), number)
        replays.cancel(tx, number, database.now(tx))
        return _existing(replay_list.find(tx, number), number)

    item = await database.write(write)
    log.info("replay.cancelled", replay=item.id)
    services.wake_replays()
    services.changes.notify()
    return item


def check(new: NewReplay, settings: Settings) -> None:
    """Raise InvalidRequest with every mistake in a request."""
    mistakes: list[errors.RequestMistake] = []
    for key, name, known in (("trigger", new.trigger, settings.triggers), ("target", new.target, settings.targets)):
        if name is not None and name not in known:
            mistakes.append(((key,), f"unknown {key}{did_you_mean(name, known)}"))
    if new.until is not None and new.until < new.since:
        mistakes.append((("until",), "must not be before since"))
    if mistakes:
        raise errors.InvalidRequest(mistakes)


def _filter(new: NewReplay, now: datetime) -> replays.ReplayFilter:
    return replays.ReplayFilter(new.since, new.until or now, new.trigger, new.target, new.state)


def _existing(item: ReplayItem | None, number: int) -> ReplayItem:
    if item is None:
        raise errors.NotFound(f"unknown replay {number} (it may have been pruned)")
    return item
