"""Deliveries, changed by their ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daemon import bulk
from daemon.model import DeliveryState
from daemon.schema import deliveries

if TYPE_CHECKING:
    from collections.abc import Collection

    import sqlalchemy as sa

PENDING = DeliveryState.PENDING.value


def update(tx: sa.Connection, ids: Collection[int], *conditions: sa.ColumnElement[bool], **values: Any) -> None:  # noqa: ANN401 - the columns' values
    """Change the deliveries of these ids that meet the conditions."""
    chosen = bulk.among(tx, deliveries.c.id, ids)
    tx.execute(deliveries.update().where(chosen, *conditions).values(values))
