"""Messages with their deliveries: made, loaded, pruned."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

from daemon import ids
from daemon.model import Action, Alert, Batch, DeliveryState, Event, Message
from daemon.storage import action_queue, journal, sql
from daemon.storage.deliveries import PENDING
from daemon.storage.schema import attempts, batched, deliveries, events, messages

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from daemon.model import Json


@dataclass(frozen=True, slots=True)
class NewMessage:
    """What a trigger sends to its targets: one event, or several together.

    ``event_seq`` is the event's number in the journal; a batch has 0 there, and its events' in ``batched``.
    """

    id: str
    event_seq: int
    trigger: str
    type: str
    incident_id: str
    targets: tuple[str, ...]
    batched: tuple[int, ...] = ()


def enqueue(tx: sa.Connection, new: Sequence[NewMessage], now: datetime) -> None:
    """Make messages and their deliveries; those that exist already stay as they are."""
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
    rows = (_new_deliveries(each.id, each.incident_id, each.targets, now) for each in new)
    sql.insert_new(tx, deliveries, list(itertools.chain.from_iterable(rows)))


def enqueue_action(tx: sa.Connection, action: Action, now: datetime) -> None:
    """Make the message that tells the outcome of an action, for the targets that it names.

    It goes in line with the other messages of its incident.
    """
    message_id = ids.message_id(action.id, action.state.value)
    of_action = {"id": message_id, "event_seq": 0, "trigger": "", "created_at": now, "action_id": action.id}
    sql.insert_new(tx, messages, [of_action | {"type": f"action.{action.state}"}])
    sql.insert_new(tx, deliveries, _new_deliveries(message_id, action.incident_id or action.id, action.notify, now))


def enqueue_alert(
    tx: sa.Connection, message_id: str, alert: Alert, subject: str, names: Iterable[str], now: datetime
) -> None:
    """Make the message of an alert, in line with the others about the same ``subject``."""
    told = orjson.dumps({"at": alert.at.isoformat(), "data": alert.data}).decode()
    row = {"id": message_id, "event_seq": 0, "trigger": "", "type": alert.type, "created_at": now, "alert": told}
    sql.insert_new(tx, messages, [row])
    sql.insert_new(tx, deliveries, _new_deliveries(message_id, subject, names, now))


def _new_deliveries(message_id: str, incident_id: str, names: Iterable[str], now: datetime) -> list[dict[str, Any]]:
    return [
        {
            "message_id": message_id,
            "target": target,
            "incident_id": incident_id,
            "state": PENDING,
            "attempts": 0,
            "created_at": now,
            "next_attempt_at": now,
        }
        for target in names
    ]


def load(tx: sa.Connection, message_ids: Collection[str]) -> dict[str, Message]:
    """Messages with their events; one whose event is gone is left out."""
    loaded: dict[str, Message] = {}
    told = messages.c.type.label("told_as")
    joined = sa.select(messages.c.id.label("message_id"), messages.c.trigger, told, events).join(
        events, events.c.seq == messages.c.event_seq
    )
    for row in tx.execute(joined.where(sql.among(tx, messages.c.id, message_ids))).all():
        loaded[row.message_id] = Message(row.message_id, row.trigger, row.told_as or row.type, journal.event_of(row))
    return loaded | _load_others(tx, set(message_ids) - loaded.keys())


def _load_others(tx: sa.Connection, message_ids: Collection[str]) -> dict[str, Message]:
    """Messages that tell of actions or of several events, and alerts."""
    if not message_ids:
        return {}
    others = tx.execute(sa.select(messages).where(sql.among(tx, messages.c.id, message_ids))).all()
    found = action_queue.load(tx, {row.action_id for row in others if row.action_id is not None})
    parts = _parts(tx, [row.id for row in others])
    loaded: dict[str, Message] = {}
    for row in others:
        if row.action_id in found:
            action = found[row.action_id]
            loaded[row.id] = Message(row.id, "", row.type or f"action.{action.state}", action)
        elif row.alert is not None:
            loaded[row.id] = Message(row.id, "", row.type, _alert(row.type, orjson.loads(row.alert)))
        elif row.id in parts:
            loaded[row.id] = Message(row.id, row.trigger, row.type, Batch(tuple(parts[row.id])))
    return loaded


def _parts(tx: sa.Connection, message_ids: Collection[str]) -> dict[str, list[Event]]:
    """The events of batches, in the journal's order."""
    query = sa.select(batched.c.message_id, events).join(events, events.c.seq == batched.c.event_seq)
    found: defaultdict[str, list[Event]] = defaultdict(list)
    for row in tx.execute(query.where(sql.among(tx, batched.c.message_id, message_ids)).order_by(events.c.seq)):
        found[row.message_id].append(journal.event_of(row))
    return found


def _alert(kind: str, told: Json) -> Alert:
    return Alert(kind, datetime.fromisoformat(told["at"]), told["data"])


def count_orphaned(tx: sa.Connection, names: Collection[str]) -> dict[str, int]:
    """How many deliveries wait for each target that is not among these."""
    waiting = deliveries.c.state == PENDING, ~sql.among(tx, deliveries.c.target, names)
    counted = sa.select(deliveries.c.target, sa.func.count()).where(*waiting).group_by(deliveries.c.target)
    return {row[0]: row[1] for row in tx.execute(counted)}


def prune(tx: sa.Connection, *, delivered: timedelta, dead: timedelta, now: datetime, limit: int) -> int:
    """Remove old deliveries with their attempts, and messages without deliveries; answers how many deliveries went."""
    gone = 0
    for state, kept in ((DeliveryState.DELIVERED, delivered), (DeliveryState.DEAD, dead)):
        ended = (deliveries.c.state == state.value) & (deliveries.c.finished_at < now - kept)
        old = sa.select(deliveries.c.id).where(ended).order_by(deliveries.c.finished_at).limit(limit)
        for part in sql.chunks(tx.execute(old).scalars().all()):
            # Asked once more: a replay may have taken one up meanwhile.
            going = deliveries.delete().where(deliveries.c.id.in_(part), ended)
            rows = tx.execute(going.returning(deliveries.c.id, deliveries.c.message_id)).all()
            tx.execute(attempts.delete().where(attempts.c.delivery_id.in_([row.id for row in rows])))
            gone += len(rows)
            left = sa.select(deliveries.c.message_id).where(deliveries.c.message_id == messages.c.id)
            told = {row.message_id for row in rows}
            tx.execute(messages.delete().where(messages.c.id.in_(told), ~left.exists()))
            there = sa.select(messages.c.id).where(messages.c.id == batched.c.message_id)
            tx.execute(batched.delete().where(batched.c.message_id.in_(told), ~there.exists()))
    return gone


def needed_events() -> sa.CompoundSelect[Any]:
    """The journal numbers that messages still need."""
    return sa.union_all(sa.select(messages.c.event_seq), sa.select(batched.c.event_seq))
