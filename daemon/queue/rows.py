"""Rows of messages and deliveries, written in parts that every database takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects import postgresql, sqlite

from daemon import bulk
from daemon.model import DeliveryState
from daemon.schema import deliveries

if TYPE_CHECKING:
    from collections.abc import Collection

    import sqlalchemy as sa

IN_CHUNK = 500
PENDING = DeliveryState.PENDING.value


def update(tx: sa.Connection, ids: Collection[int], *conditions: sa.ColumnElement[bool], **values: Any) -> None:  # noqa: ANN401 - the columns' values
    """Change the deliveries of these ids that meet the conditions."""
    chosen = bulk.among(tx, deliveries.c.id, ids)
    tx.execute(deliveries.update().where(chosen, *conditions).values(values))


def chunks(items: Collection[Any]) -> list[list[Any]]:
    """The items in parts."""
    whole = list(items)
    return [whole[start : start + IN_CHUNK] for start in range(0, len(whole), IN_CHUNK)]


def insert_new(tx: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows; those that exist already stay as they are."""
    dialect = postgresql if tx.dialect.name == "postgresql" else sqlite
    for part in chunks(rows):
        tx.execute(dialect.insert(table).on_conflict_do_nothing(), part)
