"""Sending one delivery again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from daemon import errors, text
from daemon.storage import replays
from daemon.views import delivery_list

if TYPE_CHECKING:
    import sqlalchemy as sa

    from daemon.control.services import Services
    from daemon.settings import Settings
    from daemon.storage.database import Database
    from daemon.views.delivery_list import DeliveryDetail, DeliveryItem

log = structlog.get_logger()


async def redeliver(database: Database, settings: Settings, services: Services, number: int) -> DeliveryItem:
    """Send a delivery again, or immediately if it is pending. Raises NotFound and UsageError."""

    def renew(tx: sa.Connection) -> DeliveryDetail | None:
        detail = delivery_list.find(tx, number)
        if detail is None or detail.delivery.target not in settings.targets:
            return detail
        return delivery_list.find(tx, number) if replays.redeliver(tx, number, database.now(tx)) else None

    detail = await database.write(renew)
    if detail is None:
        raise errors.NotFound(f"unknown delivery {number}, or its message no longer exists (it may have been pruned)")
    item = detail.delivery
    if item.target not in settings.targets:
        raise errors.UsageError(f"the target {text.quoted(item.target)} is no longer configured")
    log.info("delivery.requeued", delivery=item.id, target=item.target)
    services.wake_targets([item.target])
    services.changes.notify()
    return item
