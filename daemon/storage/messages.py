"""Messages with their deliveries: functions that create, load and prune them."""

from __future__ import annotations

import functools
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

from daemon import ids
from daemon.model import Action, Alert, Batch, DeliveryState, Event, Message
from daemon.storage import action_queue, journal, sql
from daemon.storage.deliveries import PENDING, in_state_of_target
from daemon.storage.schema import attempts, batched, deliveries, events, messages, targets

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from daemon.model import Json

FOR_TARGETS = (deliveries.c.message_id, deliveries.c.incident_id, sql.list_column("targets"))


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message of a trigger for its targets, with one event or a batch.

    ``event_seq`` is the event's number in the journal. A batch has 0 instead, and the numbers in ``batched``.
    """

    id: str
    event_seq: int
    trigger: str
    type: str
    incident_id: str
    targets: tuple[str, ...]
    batched: tuple[int, ...] = ()


def enqueue(tx: sa.Connection, new: Sequence[NewMessage], now: datetime) -> None:
    """Create messages and their deliveries; existing ones stay unchanged."""
    sql.insert_new(
        tx,
        messages,
        [
            {
                "id": each.id,
                "event_seq": each.event_seq,
                "trigger": each.trigger,
                "type": each.type,
                "created_at": now,
            }
            for each in new
        ],
    )
    parts = [{"message_id": each.id, "event_seq": seq} for each in new for seq in each.batched]
    sql.insert_new(tx, batched, parts)
    _enqueue(tx, [(each.id, each.incident_id, each.targets) for each in new], now)


def enqueue_action(tx: sa.Connection, action: Action, now: datetime) -> None:
    """Create the message with the result of an action, for the targets that the action names.

    It is ordered with the other messages of its incident.
    """
    message_id = ids.message_id(action.id, action.state.value)
    of_action = {"id": message_id, "event_seq": 0, "trigger": "", "created_at": now, "action_id": action.id}
    sql.insert_new(tx, messages, [of_action | {"type": f"action.{action.state}"}])
    _enqueue(tx, [(message_id, action.incident_id or action.id, action.notify)], now)


def enqueue_alert(
    tx: sa.Connection, message_id: str, alert: Alert, subject: str, names: Iterable[str], now: datetime
) -> None:
    """Create the message of an alert, which is ordered with others about the same ``subject``."""
    text = orjson.dumps({"at": alert.at.isoformat(), "data": alert.data}).decode()
    row = {"id": message_id, "event_seq": 0, "trigger": "", "type": alert.type, "created_at": now, "alert": text}
    sql.insert_new(tx, messages, [row])
    _enqueue(tx, [(message_id, subject, names)], now)


def _enqueue(tx: sa.Connection, new: Iterable[tuple[str, str, Iterable[str]]], now: datetime) -> None:
    """Create a delivery for each target of each message, given with its id and that of its incident."""
    rows = [{"message_id": id_, "incident_id": incident, "targets": list(names)} for id_, incident, names in new]
    if rows:
        statement = _enqueueing(postgres=sql.is_postgres(tx))
        tx.execute(statement, {"rows": sql.row_values(tx, FOR_TARGETS, rows), "at": now})


@functools.cache
def _enqueueing(*, postgres: bool) -> sa.Insert:
    rows = sql.row_table("rows", FOR_TARGETS, postgres=postgres)
    names = sql.listed(rows.c.targets, postgres=postgres)
    at = sa.bindparam("at", type_=deliveries.c.created_at.type)
    selected = sa.select(
        rows.c.message_id,
        names.c.value.label("target"),
        rows.c.incident_id,
        sa.literal(PENDING).label("state"),
        sa.literal(0).label("attempts"),
        at.label("created_at"),
        at.label("next_attempt_at"),
    )
    return sql.insertion_of_new(deliveries, selected.select_from(rows.join(names, sa.true())), postgres=postgres)


def load(tx: sa.Connection, message_ids: Collection[str]) -> dict[str, Message]:
    """Return messages by id, with their events; those whose event was pruned are missing."""
    loaded: dict[str, Message] = {}
    type_sent = messages.c.type.label("told_as")
    joined = sa.select(messages.c.id.label("message_id"), messages.c.trigger, type_sent, events).join(
        events, events.c.seq == messages.c.event_seq
    )
    for row in tx.execute(joined.where(sql.among(tx, messages.c.id, message_ids))).all():
        loaded[row.message_id] = Message(row.message_id, row.trigger, row.told_as or row.type, journal.event_of(row))
    return loaded | _load_others(tx, set(message_ids) - loaded.keys())


def _load_others(tx: sa.Connection, message_ids: Collection[str]) -> dict[str, Message]:
    """Return the messages of actions, batches and alerts."""
    if not message_ids:
        return {}
    others = tx.execute(sa.select(messages).where(sql.among(tx, messages.c.id, message_ids))).all()
    actions = action_queue.load(tx, {row.action_id for row in others if row.action_id is not None})
    parts = _parts(tx, [row.id for row in others])
    loaded: dict[str, Message] = {}
    for row in others:
        if row.action_id in actions:
            action = actions[row.action_id]
            loaded[row.id] = Message(row.id, "", row.type or f"action.{action.state}", action)
        elif row.alert is not None:
            loaded[row.id] = Message(row.id, "", row.type, _alert(row.type, orjson.loads(row.alert)))
        elif row.id in parts:
            loaded[row.id] = Message(row.id, row.trigger, row.type, Batch(tuple(parts[row.id])))
    return loaded


def _parts(tx: sa.Connection, message_ids: Collection[str]) -> dict[str, list[Event]]:
    """Return the events of each batch, in the journal's order."""
    query = sa.select(batched.c.message_id, events).join(events, events.c.seq == batched.c.event_seq)
    parts: defaultdict[str, list[Event]] = defaultdict(list)
    for row in tx.execute(query.where(sql.among(tx, batched.c.message_id, message_ids)).order_by(events.c.seq)):
        parts[row.message_id].append(journal.event_of(row))
    return parts


def _alert(kind: str, row: Json) -> Alert:
    return Alert(kind, datetime.fromisoformat(row["at"]), row["data"])


def count_orphaned(tx: sa.Connection, names: Collection[str]) -> dict[str, int]:
    """Return the number of pending deliveries of each target that is not among these."""
    number = in_state_of_target(sa.func.count(), DeliveryState.PENDING)
    counted = sa.select(targets.c.name, number).where(~sql.among(tx, targets.c.name, names))
    return {name: count for name, count in tx.execute(counted) if count}


def count_expired(tx: sa.Connection, *, delivered: timedelta, dead: timedelta, now: datetime) -> int:
    """Return how many deliveries ``prune`` would remove in all."""
    counting = sa.select(sa.func.count()).select_from(deliveries)
    return sum(int(tx.execute(counting.where(ended)).scalar_one()) for ended in _expired(delivered, dead, now))


def _expired(delivered: timedelta, dead: timedelta, now: datetime) -> list[sa.ColumnElement[bool]]:
    """Return the conditions for old deliveries: one for each state in which they end."""
    periods = (DeliveryState.DELIVERED, delivered), (DeliveryState.DEAD, dead)
    return [
        (deliveries.c.state == state.value) & (deliveries.c.finished_at < now - retention)
        for state, retention in periods
    ]


def prune(tx: sa.Connection, *, delivered: timedelta, dead: timedelta, now: datetime, limit: int) -> int:
    """Remove old deliveries with their attempts, and messages without deliveries; return the number of deliveries."""
    count = 0
    for ended in _expired(delivered, dead, now):
        old = sa.select(deliveries.c.id).where(ended).order_by(deliveries.c.finished_at).limit(limit)
        for part in sql.chunks(tx.execute(old).scalars().all()):
            # The condition is repeated: a replay may have requeued one meanwhile.
            deletion = deliveries.delete().where(deliveries.c.id.in_(part), ended)
            rows = tx.execute(deletion.returning(deliveries.c.id, deliveries.c.message_id)).all()
            tx.execute(attempts.delete().where(attempts.c.delivery_id.in_([row.id for row in rows])))
            count += len(rows)
            remaining = sa.select(deliveries.c.message_id).where(deliveries.c.message_id == messages.c.id)
            message_ids = {row.message_id for row in rows}
            tx.execute(messages.delete().where(messages.c.id.in_(message_ids), ~remaining.exists()))
            message = sa.select(messages.c.id).where(messages.c.id == batched.c.message_id)
            tx.execute(batched.delete().where(batched.c.message_id.in_(message_ids), ~message.exists()))
    return count


def needed_events() -> sa.CompoundSelect[Any]:
    """Return a query for the journal numbers of the events that messages need."""
    return sa.union_all(sa.select(messages.c.event_seq), sa.select(batched.c.event_seq))
