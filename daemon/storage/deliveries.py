"""Conditions on rows of deliveries, and changes by id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from daemon.model import REFUSALS, DeliveryState
from daemon.storage import sql
from daemon.storage.schema import deliveries, targets

if TYPE_CHECKING:
    from collections.abc import Collection

T = TypeVar("T")

PENDING = DeliveryState.PENDING.value
FEW = 50  # targets


def unclaimed(table: sa.FromClause = deliveries) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions for pending deliveries without a claim, as in the partial indexes of SQLite."""
    return table.c.state == PENDING, table.c.claimed_by.is_(None)


def in_state(state: DeliveryState, table: sa.FromClause = deliveries) -> sa.ColumnElement[bool]:
    """Return the condition for a state as the partial indexes have it: with the state written out."""
    return table.c.state == sa.literal_column(f"'{state}'")


def count_by_target(
    tx: sa.Connection, state: DeliveryState, names: Collection[str] | None = None
) -> dict[str, tuple[int, int]]:
    """Return the number of deliveries in a state, pending or dead, and the first one's id, for each target with some.

    One pass through a partial index. A few ``names`` are looked up in it one by one; many, or all, are not.
    """
    columns = deliveries.c.target, sa.func.count(), sa.func.min(deliveries.c.id)
    counted = sa.select(*columns).where(sql.often_true(tx, in_state(state))).group_by(deliveries.c.target)
    if names is not None and len(names) <= FEW:
        counted = counted.where(sql.among(tx, deliveries.c.target, names))
    return {target: (number, first) for target, number, first in tx.execute(counted).all()}


def in_state_of_target(figure: sa.ColumnElement[T], state: DeliveryState) -> sa.ScalarSelect[T]:
    """Return a figure about the deliveries of each target in a state, in a query for ``targets``.

    One look into a partial index for each target. Without statistics SQLite would choose another index to group all
    deliveries by their target, and read each of them.
    """
    mine = deliveries.c.target == targets.c.name, in_state(state)
    return sa.select(figure).where(*mine).correlate(targets).scalar_subquery()


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
