"""Deliveries: in pages, oldest first, and one by one with their attempts."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the API reads the annotations
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from daemon.model import DeliveryState, TargetState
from daemon.storage import schema, sql
from daemon.storage.deliveries import in_state
from daemon.views import event_list, paging, rows
from daemon.views.event_list import EventItem  # noqa: TC001 - the API reads the annotations
from daemon.views.health import Health
from daemon.views.paging import Page

if TYPE_CHECKING:
    from collections.abc import Iterable


RETRYING = sa.text("deliveries.attempts > 0")  # written out, for the partial indexes


class StateFilter(enum.StrEnum):
    """The states by which deliveries are listed: those of a delivery, and the pending ones with failed attempts."""

    PENDING = "pending"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class DeliveryItem:
    """One message for one target. ``type``, ``trigger`` and ``event_id`` are null once the message is pruned.

    ``next_attempt_at`` is when a pending delivery is sent next, at the earliest; null if nobody knows, because its
    target is paused. ``waits_for_target`` says why the target gets nothing until then: it is paused, failing (only
    probes are sent) or blocked. It is null if the delivery itself has to wait, or need not.
    """

    id: int
    message_id: str
    trigger: str | None
    event_id: str | None
    type: str | None
    connection: str | None
    incident_id: str
    target: str
    state: DeliveryState
    running: bool
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None
    waits_for_target: Health | None
    finished_at: datetime | None
    last_status: int | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP request of a delivery. ``answer`` is the beginning of the response body, unless it was a success."""

    at: datetime
    duration_ms: int
    status: int | None
    error: str | None
    answer: str | None


@dataclass(frozen=True, slots=True)
class DeliveryDetail:
    """A delivery with its attempts, oldest first, and its event while that is kept.

    ``batch`` has the events of a message that combines several.
    """

    delivery: DeliveryItem
    event: EventItem | None
    attempts: list[Attempt]
    batch: list[EventItem]


def read(
    tx: sa.Connection,
    *,
    after: str | None = None,
    limit: int = paging.DEFAULT_PAGE,
    trigger: str | None = None,
    target: str | None = None,
    state: str | None = None,
    incident: str | None = None,
    last: bool = False,
    before: str | None = None,
) -> Page[DeliveryItem]:
    """Return a page of deliveries; with ``last`` the newest instead of the oldest.

    With ``before`` it goes backwards from there. Raises UsageError for an unknown name.
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
        paging.must_be_state("delivery", state, StateFilter)
        query = query.where(_in_state(tx, StateFilter(state)))
    if incident is not None:
        query = query.where(table.c.message_id.in_(_messages_of(paging.valid_id(incident))))
    page, cursor = paging.read_rows(tx, query, table.c.id, after, limit, last=last, before=before)
    return Page(_items(tx, page), cursor)


def read_of_event(tx: sa.Connection, event_id: str, limit: int) -> Page[DeliveryItem]:
    """Return the first deliveries of an event's messages, alone or batched with others, oldest first."""
    events, messages, batched = schema.events, schema.messages, schema.batched
    single = events.join(messages, messages.c.event_seq == events.c.seq)
    combined = events.join(batched, batched.c.event_seq == events.c.seq)
    message_ids = sa.union_all(
        sa.select(messages.c.id).select_from(single).where(events.c.id == event_id),
        sa.select(batched.c.message_id).select_from(combined).where(events.c.id == event_id),
    )
    query = sa.select(schema.deliveries.c.id).where(schema.deliveries.c.message_id.in_(message_ids))
    page, cursor = paging.read_rows(tx, query, schema.deliveries.c.id, None, limit, last=False)
    return Page(_items(tx, page), cursor)


def _items(tx: sa.Connection, page: Iterable[Any]) -> list[DeliveryItem]:
    """Return the deliveries with these ids, in this order."""
    ids = [row.id for row in page]
    items = {row.id: _item(row) for row in tx.execute(_joined().where(schema.deliveries.c.id.in_(ids)))}
    return [items[each] for each in ids if each in items]


def find(tx: sa.Connection, delivery_id: int) -> DeliveryDetail | None:
    """Return one delivery with its attempts, or None for an unknown id."""
    if not 0 < delivery_id <= paging.LARGEST_CURSOR:
        return None
    row = tx.execute(_joined().where(schema.deliveries.c.id == delivery_id)).one_or_none()
    if row is None:
        return None
    table = schema.attempts
    attempt_rows = tx.execute(sa.select(table).where(table.c.delivery_id == delivery_id).order_by(table.c.id))
    attempts = [rows.as_value(Attempt, each) for each in attempt_rows]
    event = tx.execute(sa.select(schema.events).where(schema.events.c.id == row.event_id)).one_or_none()
    batch = [event_list.item(each) for each in tx.execute(_batch(row.message_id))]
    return DeliveryDetail(_item(row), None if event is None else event_list.item(event), attempts, batch)


def _batch(message_id: str) -> sa.Select[Any]:
    """Return the query for the events of a message that combines several."""
    events, batched = schema.events, schema.batched
    query = sa.select(events).join(batched, batched.c.event_seq == events.c.seq)
    return query.where(batched.c.message_id == message_id).order_by(events.c.seq)


def _messages_of(incident: str) -> sa.CompoundSelect[Any]:
    """Return the query for the ids of an incident's messages, by way of the journal and of actions.

    Each step of this detour has an index.
    """
    events, messages, batched, actions = schema.events, schema.messages, schema.batched, schema.actions
    single = events.join(messages, messages.c.event_seq == events.c.seq)
    combined = events.join(batched, batched.c.event_seq == events.c.seq)
    results = actions.join(messages, messages.c.action_id == actions.c.id)
    any_connection = actions.c.connection.in_(sa.select(schema.connections.c.name))
    return sa.union_all(
        sa.select(messages.c.id).select_from(single).where(events.c.incident_id == incident),
        sa.select(batched.c.message_id).select_from(combined).where(events.c.incident_id == incident),
        sa.select(messages.c.id).select_from(results).where(any_connection, actions.c.subject == incident),
    )


def _joined() -> sa.Select[Any]:
    """Return the query for deliveries with their messages and events; the connection of a batch is its trigger's."""
    columns = (
        schema.messages.c.trigger,
        schema.events.c.id.label("event_id"),
        sa.func.coalesce(schema.messages.c.type, schema.events.c.type).label("type"),
        sa.func.coalesce(schema.events.c.connection, schema.triggers.c.connection).label("connection"),
    )
    source = schema.deliveries.outerjoin(schema.messages, schema.messages.c.id == schema.deliveries.c.message_id)
    source = source.outerjoin(schema.events, schema.events.c.seq == schema.messages.c.event_seq)
    source = source.outerjoin(schema.triggers, schema.triggers.c.name == schema.messages.c.trigger)
    source = source.outerjoin(schema.targets, schema.targets.c.name == schema.deliveries.c.target)
    target = (schema.targets.c[name] for name in ("paused_at", "failing_since", "probe_at", "blocked_until"))
    return sa.select(schema.deliveries, *columns, *target).select_from(source)


def _in_state(tx: sa.Connection, state: StateFilter) -> sa.ColumnElement[bool]:
    """Return the condition for a state; the partial indexes need it written out.

    Nearly all deliveries are delivered: those are found quickest in the order of their ids, without an index on
    the state. Dead and retrying ones have an index in that order.
    """
    in_order = schema.deliveries.c.id > 0  # SQLite needs the range, too
    match state:
        case StateFilter.DELIVERED:
            return schema.deliveries.c.state.not_in([DeliveryState.PENDING, DeliveryState.DEAD])
        case StateFilter.DEAD:
            return sql.often_true(tx, in_state(DeliveryState.DEAD)) & in_order
        case StateFilter.RETRYING:
            return sa.and_(sql.often_true(tx, in_state(DeliveryState.PENDING)), RETRYING, in_order)
        case StateFilter.PENDING:
            return in_state(DeliveryState.PENDING)


def _item(row: Any) -> DeliveryItem:  # noqa: ANN401 - a row of the joined tables
    pending = row.state == DeliveryState.PENDING
    running = pending and row.claimed_by is not None
    own = row.next_attempt_at if pending else None
    waits_for_target, next_attempt_at = (None, own) if own is None or running else _wait(row, own)
    return rows.as_value(
        DeliveryItem,
        row,
        state=DeliveryState(row.state),
        running=running,
        next_attempt_at=next_attempt_at,
        waits_for_target=waits_for_target,
    )


def _wait(row: Any, own: datetime) -> tuple[Health | None, datetime | None]:  # noqa: ANN401 - as above
    """Return which state of its target a pending delivery waits for, if any, and when it is sent at the earliest.

    ``own`` is when it may be sent itself.
    """
    state = TargetState(failing_since=row.failing_since, probe_at=row.probe_at, blocked_until=row.blocked_until)
    if row.paused_at is not None:
        return Health.PAUSED, None
    if state.ready_at is None or state.ready_at < own:
        return None, own
    return Health.BLOCKED if state.failing_since is None else Health.FAILING, state.ready_at
