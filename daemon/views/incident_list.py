"""Incidents, as their snapshots describe them: the open ones in pages, and one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

from daemon import errors
from daemon.model import IncidentStatus
from daemon.storage import schema
from daemon.storage.column_types import EPOCH, MICROSECOND, Instant
from daemon.triggers import lenient_json
from daemon.views import paging
from daemon.views.paging import Page

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.model import Json
    from daemon.views.event_list import EventItem

OPEN = tuple(each for each in IncidentStatus if each is not IncidentStatus.RESOLVED)
IS_OPEN = schema.snapshots.c.status != sa.literal_column(f"'{IncidentStatus.RESOLVED}'")  # as in the partial index
ORDER = (schema.snapshots.c.status_at, schema.snapshots.c.incident_id, schema.snapshots.c.connection)


@dataclass(frozen=True, slots=True)
class IncidentItem:
    """What is known about an incident. ``status_at`` is when it got its status."""

    id: str
    connection: str
    number: int | None
    title: str
    status: str | None
    status_at: datetime | None
    created_at: datetime | None
    urgency: str | None
    service: str | None
    assignees: tuple[str, ...]
    html_url: str | None


def read_open(
    tx: sa.Connection, *, before: str, limit: int, status: str | None = None, connection: str | None = None
) -> Page[IncidentItem]:
    """Return a page of the incidents that are open, the one whose status changed last first.

    ``before`` is the cursor of the previous page, or ``paging.NEWEST``. Raises UsageError for an unknown name.
    """
    table = schema.snapshots
    query = sa.select(table).where(IS_OPEN)
    if status is not None:
        paging.must_be_state("incident", status, OPEN)
        query = query.where(table.c.status == status)
    if connection is not None:
        paging.must_exist(tx, "connection", schema.connections.c.name, connection)
        query = query.where(table.c.connection == connection)
    if before != paging.NEWEST:
        query = query.where(sa.tuple_(*ORDER) < _position(before))
    rows = tx.execute(query.order_by(*(each.desc() for each in ORDER)).limit(limit + 1)).all()
    return Page([_of_row(row) for row in rows[:limit]], _cursor(rows[limit - 1]) if len(rows) > limit else None)


def find(tx: sa.Connection, incident_id: str) -> IncidentItem | None:
    """Return an incident, or None for one without a snapshot."""
    if not incident_id.isprintable():
        return None
    table, names = schema.snapshots, sa.select(schema.connections.c.name)
    mine = table.c.connection.in_(names), table.c.incident_id == incident_id
    row = tx.execute(sa.select(table).where(*mine).order_by(table.c.status_at.desc()).limit(1)).one_or_none()
    return None if row is None else _of_row(row)


def of_event(event: EventItem) -> IncidentItem:
    """Return an incident as one of its events describes it."""
    resource = event.incident
    return _item(event.incident_id, event.connection, resource, lenient_json.get_text(resource, "status"), None)


def _of_row(row: Any) -> IncidentItem:  # noqa: ANN401 - a row of the snapshots table
    return _item(row.incident_id, row.connection, orjson.loads(row.incident), row.status, row.status_at)


def _item(
    incident_id: str, connection: str, resource: Json, status: str | None, status_at: datetime | None
) -> IncidentItem:
    title = lenient_json.get_text(resource, "title") or lenient_json.get_text(resource, "summary")
    people = (assignee for assignee, _ in lenient_json.assignments(resource))
    return IncidentItem(
        id=incident_id,
        connection=connection,
        number=lenient_json.get_number(resource, "incident_number", "number"),
        title=title or incident_id,
        status=status,
        status_at=status_at,
        created_at=lenient_json.get_time(resource, "created_at"),
        urgency=lenient_json.get_text(resource, "urgency"),
        service=lenient_json.get_text(lenient_json.get_object(resource, "service"), "summary"),
        assignees=tuple(lenient_json.get_text(each, "summary") or each["id"] for each in people),
        html_url=lenient_json.get_text(resource, "html_url"),
    )


def _cursor(row: Any) -> str:  # noqa: ANN401 - as above
    return f"{(row.status_at - EPOCH) // MICROSECOND}:{row.incident_id}:{row.connection}"


def _position(cursor: str) -> Any:  # noqa: ANN401 - a row value
    """Return the place in the order that a cursor describes."""
    moment, _, rest = cursor.partition(":")
    incident_id, _, connection = rest.partition(":")
    try:
        at = EPOCH + int(moment) * MICROSECOND if moment.isascii() else None
    except (ValueError, OverflowError):
        at = None
    if at is None or not rest.isprintable():
        raise errors.UsageError('invalid cursor in "before" (use the "next" of an earlier page)')
    return sa.tuple_(sa.literal(at, Instant), sa.literal(incident_id), sa.literal(connection))
