"""Conditions on rows of deliveries, and changes by id."""

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
    """Return the conditions for pending deliveries without a claim, as in the partial indexes."""
    return table.c.state == PENDING, table.c.claimed_by.is_(None)


def waiting_since(table: sa.FromClause = deliveries) -> sa.ColumnElement[Any]:
    """Return since when a delivery has been pending, which is the start of its horizon."""
    return sa.func.coalesce(table.c.renewed_at, table.c.created_at)


def message_rejected(table: sa.FromClause = deliveries) -> sa.ColumnElement[bool]:
    """Return the condition that the last response rejected the message itself, and says nothing about the target."""
    return sa.func.coalesce(table.c.last_status, 0).in_(REFUSALS)


def update(tx: sa.Connection, ids: Collection[int], *conditions: sa.ColumnElement[bool], **values: Any) -> None:  # noqa: ANN401 - the columns' values
    """Change the deliveries of these ids that meet the conditions."""
    chosen = sql.among(tx, deliveries.c.id, ids)
    tx.execute(deliveries.update().where(chosen, *conditions).values(values))
