"""The journal's events, in pages: oldest first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the API reads the annotations
from typing import Any

import orjson
import sqlalchemy as sa

from daemon import errors, text
from daemon.model import Json  # noqa: TC001 - the API reads the annotations
from daemon.storage import schema
from daemon.triggers import BY_OPERATION, REGISTRY, lenient_json
from daemon.views import paging, rows
from daemon.views.paging import Page


@dataclass(frozen=True, slots=True)
class EventItem:
    """An event of the journal. ``cursor`` is its position there, for ``after``.

    ``operation`` is the connector's operation id, null for events that the connector does not have.
    ``details`` is what the alert that created the incident said, null for other events.
    ``changes`` is what PagerDuty's log says about the change, null if it says nothing.
    """

    cursor: str
    id: str
    type: str
    operation: str | None
    connection: str
    incident_id: str
    occurred_at: datetime
    detected_at: datetime
    detected_by: str
    agent: Json | None
    incident: Json
    assignees: list[Json] | None
    note: Json | None
    changes: Json | None
    details: Json | str | None

    @property
    def incident_number(self) -> int | None:
        """Return the number by which people call the incident."""
        return lenient_json.get_number(self.incident, "incident_number", "number")


def read(
    tx: sa.Connection,
    *,
    after: str | None = None,
    limit: int = paging.DEFAULT_PAGE,
    trigger: str | None = None,
    incident: str | None = None,
    type: str | None = None,  # noqa: A002 - the name of the field in messages and in the API
    connection: str | None = None,
    last: bool = False,
    before: str | None = None,
) -> Page[EventItem]:
    """Return a page of the journal; with ``last`` its end instead of its beginning.

    With ``before`` it goes backwards from there.
    ``trigger`` selects the events that the trigger made messages of, as long as those are kept. Raises
    UsageError for an unknown name. Within one connection nothing is ever added before a cursor; among
    the connections of several replicas a late commit can be.
    """
    table = schema.events
    query = sa.select(table)
    if incident is not None:
        query = query.where(table.c.incident_id == paging.valid_id(incident))
    if type is not None:
        query = query.where(table.c.type == _event_type(type))
    if connection is not None:
        paging.must_exist(tx, "connection", schema.connections.c.name, connection)
        query = query.where(table.c.connection == connection)
    if trigger is not None:
        paging.must_exist(tx, "trigger", schema.triggers.c.name, trigger)
        query = query.where(_sent_by(trigger))
    page, cursor = paging.read_rows(tx, query, table.c.seq, after, limit, last=last, before=before)
    return Page([item(row) for row in page], cursor)


def find(tx: sa.Connection, event_id: str) -> EventItem | None:
    """Return one event, or None for an unknown id."""
    if not event_id.isprintable():
        return None
    row = tx.execute(sa.select(schema.events).where(schema.events.c.id == event_id)).one_or_none()
    return None if row is None else item(row)


def item(row: Any) -> EventItem:  # noqa: ANN401 - a row of the events table
    """Return a row of the journal as people see it."""
    payload: Json = orjson.loads(row.payload)
    return rows.as_value(
        EventItem,
        row,
        cursor=str(row.seq),
        operation=REGISTRY[row.type].operation,
        agent=payload.get("agent"),
        incident=payload.get("incident") or {},
        assignees=payload.get("assignees"),
        note=payload.get("note"),
        changes=payload.get("changes"),
        details=payload.get("details"),
    )


def _sent_by(trigger: str) -> sa.ColumnElement[bool]:
    """Return the condition that a trigger made a message of an event, alone or batched with others.

    Nested, so that both databases begin with the few messages of an event and not with the many of the trigger.
    """
    seq, messages, batched = schema.events.c.seq, schema.messages, schema.batched
    alone = sa.exists().where(messages.c.event_seq == seq, messages.c.trigger == trigger)
    of_batch = sa.exists().where(messages.c.id == batched.c.message_id, messages.c.trigger == trigger)
    return alone | sa.exists().where(batched.c.event_seq == seq, of_batch)


def _event_type(name: str) -> str:
    if name in REGISTRY:
        return name
    if name in BY_OPERATION:
        return BY_OPERATION[name].name
    if f"incident.{name}" in REGISTRY:  # the short form that the command line prints
        return f"incident.{name}"
    raise errors.UsageError(f"unknown event type {text.quoted(name)} (known: {', '.join(REGISTRY)})")
