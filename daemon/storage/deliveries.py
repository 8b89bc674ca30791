"""Deliveries: what their rows say, and changing them by their ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from daemon.model import REFUSALS, DeliveryState
from daemon.storage import sql
from daemon.storage.schema import deliveries

if TYPE_CHECKING:
    from collections.abc import Collection

PENDING = DeliveryState.PENDING.value


def unclaimed(table: sa.FromClause = deliveries) -> tuple[sa.ColumnElement[bool], ...]:
    """What nobody has claimed: the conditions of the partial indexes."""
    return table.c.state == PENDING, table.c.claimed_by.is_(None)


def waiting_since(table: sa.FromClause = deliveries) -> sa.ColumnElement[Any]:
    """Since when a delivery waits: its horizon counts from there."""
    return sa.func.coalesce(table.c.renewed_at, table.c.created_at)


def message_rejected(table: sa.FromClause = deliveries) -> sa.ColumnElement[bool]:
    """Whether its target refused it for its own sake the last time."""
    return sa.func.coalesce(table.c.last_status, 0).in_(REFUSALS)


def update(tx: sa.Connection, ids: Collection[int], *conditions: sa.ColumnElement[bool], **values: Any) -> None:  # noqa: ANN401 - the columns' values
    """Change the deliveries of these ids that meet the conditions."""
    chosen = sql.among(tx, deliveries.c.id, ids)
    tx.execute(deliveries.update().where(chosen, *conditions).values(values))
