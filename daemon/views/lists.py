"""Events and deliveries in pages: oldest first, with cursors that hold while rows are added and pruned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

from daemon import errors
from daemon.model import DeliveryState
from daemon.storage import schema
from daemon.triggers import BY_OPERATION, REGISTRY
from daemon.views import paging
from daemon.views.values import Attempt, Deliveries, DeliveryDetail, DeliveryItem, EventItem, Events

if TYPE_CHECKING:
    from daemon.model import Json


def events(
    tx: sa.Connection,
    *,
    after: str | None = None,
    limit: int = paging.DEFAULT_PAGE,
    trigger: str | None = None,
    incident: str | None = None,
    type: str | None = None,  # noqa: A002 - the word that receivers and the API know it by
    connection: str | None = None,
    last: bool = False,
) -> Events:
    """A page of the journal; with ``last`` its end instead of its beginning.

    ``trigger``: only what that trigger has made messages of (as long as those are kept).
    Raises UsageError for a filter that names nothing. Within one connection nothing is ever
    added before a cursor; among several replicas' connections a late commit can be.
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
    rows, following = paging.page(tx, query, table.c.seq, after, limit, last=last)
    return Events([_event(row) for row in rows], following)


def deliveries(
    tx: sa.Connection,
    *,
    after: str | None = None,
    limit: int = paging.DEFAULT_PAGE,
    trigger: str | None = None,
    target: str | None = None,
    state: str | None = None,
    incident: str | None = None,
    last: bool = False,
) -> Deliveries:
    """A page of deliveries; with ``last`` the newest instead of the oldest.

    Raises UsageError for a filter that names nothing.
    """
    table = schema.deliveries
    query = sa.select(table.c.id)
    if trigger is not None:
        paging.must_exist(tx, "trigger", schema.triggers.c.name, trigger)
        of_trigger = (schema.messages.c.id == table.c.message_id) & (schema.messages.c.trigger == trigger)
        query = query.where(sa.exists().where(of_trigger))
    if target is not None:
        paging.must_exist(tx, "target", schema.targets.c.name, target)
        query = query.where(table.c.target == target)
    if state is not None:
        query = query.where(_in_state(_state(state)))
    if incident is not None:
        query = query.where(table.c.message_id.in_(_messages_of(paging.valid_id(incident))))
    found, following = paging.page(tx, query, table.c.id, after, limit, last=last)
    rows = tx.execute(_joined().where(table.c.id.in_([row.id for row in found])).order_by(table.c.id))
    return Deliveries([_delivery(row) for row in rows], following)


def delivery(tx: sa.Connection, delivery_id: int) -> DeliveryDetail | None:
    """One delivery with its attempts; None if there is none of that id."""
    if not 0 < delivery_id <= paging.LARGEST_CURSOR:
        return None
    row = tx.execute(_joined().where(schema.deliveries.c.id == delivery_id)).one_or_none()
    if row is None:
        return None
    table = schema.attempts
    columns = table.c.at, table.c.duration_ms, table.c.status, table.c.error, table.c.answer
    of_delivery = sa.select(*columns).where(table.c.delivery_id == delivery_id).order_by(table.c.id)
    attempts = [Attempt(*each) for each in tx.execute(of_delivery)]
    event = tx.execute(sa.select(schema.events).where(schema.events.c.id == row.event_id)).one_or_none()
    batch = [_event(each) for each in tx.execute(_batch(row.message_id))]
    return DeliveryDetail(_delivery(row), None if event is None else _event(event), attempts, batch)


def _batch(message_id: str) -> sa.Select[Any]:
    """The events of a message that tells of several."""
    events, batched = schema.events, schema.batched
    query = sa.select(events).join(batched, batched.c.event_seq == events.c.seq)
    return query.where(batched.c.message_id == message_id).order_by(events.c.seq)


def _sent_by(trigger: str) -> sa.ColumnElement[bool]:
    """The condition that a trigger has made a message of an event, of it alone or together with others."""
    seq, messages, batched = schema.events.c.seq, schema.messages, schema.batched
    alone = sa.exists().where(messages.c.event_seq == seq, messages.c.trigger == trigger)
    in_batch = batched.c.event_seq == seq, messages.c.id == batched.c.message_id, messages.c.trigger == trigger
    return alone | sa.exists().where(*in_batch)


def _messages_of(incident: str) -> sa.CompoundSelect[Any]:
    """The ids of an incident's messages: a detour by the journal and by actions, but every step of it has an index."""
    events, messages, batched, actions = schema.events, schema.messages, schema.batched, schema.actions
    told = events.join(messages, messages.c.event_seq == events.c.seq)
    gathered = events.join(batched, batched.c.event_seq == events.c.seq)
    acted = actions.join(messages, messages.c.action_id == actions.c.id)
    any_connection = actions.c.connection.in_(sa.select(schema.connections.c.name))
    return sa.union_all(
        sa.select(messages.c.id).select_from(told).where(events.c.incident_id == incident),
        sa.select(batched.c.message_id).select_from(gathered).where(events.c.incident_id == incident),
        sa.select(messages.c.id).select_from(acted).where(any_connection, actions.c.subject == incident),
    )


def _joined() -> sa.Select[Any]:
    """Deliveries with what their messages tell; a batch's connection is its trigger's."""
    columns = (
        schema.messages.c.trigger,
        schema.events.c.id.label("event_id"),
        sa.func.coalesce(schema.messages.c.type, schema.events.c.type).label("type"),
        sa.func.coalesce(schema.events.c.connection, schema.triggers.c.connection).label("connection"),
    )
    source = schema.deliveries.outerjoin(schema.messages, schema.messages.c.id == schema.deliveries.c.message_id)
    source = source.outerjoin(schema.events, schema.events.c.seq == schema.messages.c.event_seq)
    source = source.outerjoin(schema.triggers, schema.triggers.c.name == schema.messages.c.trigger)
    return sa.select(schema.deliveries, *columns).select_from(source)


def _event_type(name: str) -> str:
    if name in REGISTRY:
        return name
    if name in BY_OPERATION:
        return BY_OPERATION[name].type.value
    if f"incident.{name}" in REGISTRY:  # as the command line shows it
        return f"incident.{name}"
    raise errors.UsageError(f"no event type {paging.quoted(name)} (there are: {', '.join(REGISTRY)})")


def _state(name: str) -> DeliveryState:
    if name in set(DeliveryState):
        return DeliveryState(name)
    raise errors.UsageError(f"no delivery state {paging.quoted(name)} (there are: {', '.join(DeliveryState)})")


def _in_state(state: DeliveryState) -> sa.ColumnElement[bool]:
    """Pending and dead have partial indexes, which serve only where the condition is written out.

    Nearly all deliveries are delivered: those are found quickest in the order of their ids, by no index on the state.
    """
    if state is DeliveryState.DELIVERED:
        return schema.deliveries.c.state.not_in([DeliveryState.PENDING, DeliveryState.DEAD])
    return schema.deliveries.c.state == sa.literal_column(f"'{state}'")


def _event(row: Any) -> EventItem:  # noqa: ANN401 - a row of the events table
    payload: Json = orjson.loads(row.payload)
    return EventItem(
        cursor=str(row.seq),
        id=row.id,
        type=row.type,
        operation=REGISTRY[row.type].operation,
        connection=row.connection,
        incident_id=row.incident_id,
        occurred_at=row.occurred_at,
        detected_at=row.detected_at,
        detected_by=row.detected_by,
        agent=payload.get("agent"),
        incident=payload.get("incident") or {},
        assignees=payload.get("assignees"),
        note=payload.get("note"),
        changes=payload.get("changes"),
    )


def _delivery(row: Any) -> DeliveryItem:  # noqa: ANN401 - a row of the joined tables
    pending = row.state == DeliveryState.PENDING
    return DeliveryItem(
        id=row.id,
        message_id=row.message_id,
        trigger=row.trigger,
        event_id=row.event_id,
        type=row.type,
        connection=row.connection,
        incident_id=row.incident_id,
        target=row.target,
        state=DeliveryState(row.state),
        running=pending and row.claimed_by is not None,
        attempts=row.attempts,
        created_at=row.created_at,
        next_attempt_at=row.next_attempt_at if pending else None,
        finished_at=row.finished_at,
        last_status=row.last_status,
        last_error=row.last_error,
    )
