"""Pausing, resuming and testing a target."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from daemon import errors
from daemon.delivery import sample_delivery
from daemon.model import PAUSED_BY_HAND
from daemon.storage import targets
from daemon.storage.database import system_clock
from daemon.text import did_you_mean, quoted
from daemon.views import target_health

if TYPE_CHECKING:
    import sqlalchemy as sa

    from daemon.control.services import Services
    from daemon.settings import Settings
    from daemon.storage.database import Database
    from daemon.views.target_health import TargetStatus

LONGEST_TEST = timedelta(seconds=60)


async def pause(database: Database, settings: Settings, services: Services, name: str) -> TargetStatus:
    """Send nothing to a target until it is resumed. Raises NotFound."""
    must_be_known(name, settings)

    def write(tx: sa.Connection) -> TargetStatus:
        targets.pause(tx, name, PAUSED_BY_HAND, database.now(tx))
        return _status(tx, database, settings, name)

    item = await database.write(write)
    services.changes.notify()
    return item


async def resume(database: Database, settings: Settings, services: Services, name: str) -> TargetStatus:
    """Send to a target again, immediately. Raises NotFound."""
    must_be_known(name, settings)

    def write(tx: sa.Connection) -> TargetStatus:
        targets.resume(tx, name, database.now(tx))
        return _status(tx, database, settings, name)

    item = await database.write(write)
    services.wake_targets([name])
    services.changes.notify()
    return item


async def test(settings: Settings, name: str) -> list[sample_delivery.Trial]:
    """Send a signed sample of each message type that a target receives, past the queue. Raises NotFound."""
    must_be_known(name, settings)
    target = settings.targets[name]
    kinds = sample_delivery.kinds(target, settings.triggers.values(), settings.actions_notify, settings.alerts_to)
    return await sample_delivery.run(target, kinds, system_clock(), LONGEST_TEST)


def must_be_known(name: str, settings: Settings) -> None:
    """Raise NotFound unless a target with this name is configured."""
    if name not in settings.targets:
        raise errors.NotFound(f"unknown target {quoted(name)}{did_you_mean(name, settings.targets)}")


def _status(tx: sa.Connection, database: Database, settings: Settings, name: str) -> TargetStatus:
    (item,) = target_health.read(tx, {name: settings.targets[name]}, database.now(tx))
    return item
