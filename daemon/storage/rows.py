"""Rows that several stores write and read: in parts that every database takes, and events as they are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy.dialects import postgresql, sqlite

from daemon.model import DetectedBy, Event

if TYPE_CHECKING:
    from collections.abc import Collection

    import sqlalchemy as sa

IN_CHUNK = 500


def chunks(items: Collection[Any]) -> list[list[Any]]:
    """The items in parts."""
    whole = list(items)
    return [whole[start : start + IN_CHUNK] for start in range(0, len(whole), IN_CHUNK)]


def insertion(tx: sa.Connection, table: sa.Table) -> Any:  # noqa: ANN401 - two classes of one shape
    """An INSERT that can say what is to be done about rows that are there already."""
    return (postgresql if tx.dialect.name == "postgresql" else sqlite).insert(table)


def insert_new(tx: sa.Connection, table: sa.Table, given: Collection[dict[str, Any]]) -> None:
    """Insert rows; those that exist already stay as they are."""
    for part in chunks(given):
        tx.execute(insertion(tx, table).on_conflict_do_nothing(), part)


def event_of(row: Any) -> Event:  # noqa: ANN401 - a row with the columns of the events table
    """An event of the journal."""
    return Event(
        id=row.id,
        type=row.type,
        connection=row.connection,
        incident_id=row.incident_id,
        occurred_at=row.occurred_at,
        detected_at=row.detected_at,
        detected_by=DetectedBy(row.detected_by),
        payload=orjson.loads(row.payload),
    )
