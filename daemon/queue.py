"""Messages and deliveries, stored: made, claimed, recorded, given back, pruned.

Plain functions on an open transaction. A claim is ``claimed_by``, the id of the daemon
that sends; whatever is written after a claim names it, so that a daemon which was taken
for dead changes nothing. A delivery is claimed only if no earlier pending delivery of its
target and incident is left out: that is how order is kept, across replicas too.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from daemon import action_queue, bulk, detection
from daemon.model import Action, Alert, Batch, Delivery, DeliveryState, DetectedBy, Event, EventType, Message, Order
from daemon.schema import attempts, batched, deliveries, events, messages, targets

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from daemon.model import Json

IN_CHUNK = 500
BEHIND_RUNNING = timedelta(milliseconds=500)
BUSY = timedelta(milliseconds=100)
PENDING = DeliveryState.PENDING.value
FREE = (deliveries.c.state == PENDING, deliveries.c.claimed_by.is_(None))
CLAIMED = [deliveries.c[name] for name in ("id", "message_id", "target", "incident_id", "attempts", "created_at")]

Line = tuple[str, str]  # a target and an incident, whose deliveries wait for one another


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


@dataclass(frozen=True, slots=True)
class Chain:
    """Deliveries that are sent one after the other; ``after`` are those that this daemon has to send before."""

    deliveries: tuple[Delivery, ...]
    after: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Claim:
    """What one target got to send. ``next_due`` is when there may be more: None if nothing is pending."""

    chains: tuple[Chain, ...]
    next_due: datetime | None


@dataclass(frozen=True, slots=True)
class Result:
    """How one attempt went. ``next_attempt_at`` goes with ``state`` pending."""

    delivery: Delivery
    state: DeliveryState
    at: datetime
    duration_ms: int
    status: int | None
    error: str | None
    answer: str | None
    next_attempt_at: datetime | None = None


def ensure_targets(tx: sa.Connection, names: Iterable[str]) -> None:
    """Make rows for targets that have none yet."""
    _insert_new(tx, targets, [{"name": name} for name in names])


def enqueue(tx: sa.Connection, new: Sequence[NewMessage], now: datetime) -> None:
    """Make messages and their deliveries; those that exist already stay as they are."""
    _insert_new(
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
    _insert_new(tx, batched, parts)
    rows = (_new_deliveries(each.id, each.incident_id, each.targets, now) for each in new)
    _insert_new(tx, deliveries, list(itertools.chain.from_iterable(rows)))


def enqueue_action(tx: sa.Connection, action: Action, now: datetime) -> None:
    """Make the message that tells the outcome of an action, for the targets that it names.

    It goes in line with the other messages of its incident.
    """
    message_id = detection.message_id(action.id, action.state.value)
    of_action = {"id": message_id, "event_seq": 0, "trigger": "", "created_at": now, "action_id": action.id}
    _insert_new(tx, messages, [of_action | {"type": f"action.{action.state}"}])
    _insert_new(tx, deliveries, _new_deliveries(message_id, action.subject or action.id, action.notify, now))


def enqueue_alert(
    tx: sa.Connection, message_id: str, alert: Alert, subject: str, names: Iterable[str], now: datetime
) -> None:
    """Make the message of an alert, in line with the others about the same ``subject``."""
    told = orjson.dumps({"at": alert.at.isoformat(), "data": alert.data}).decode()
    row = {"id": message_id, "event_seq": 0, "trigger": "", "type": alert.type, "created_at": now, "alert": told}
    _insert_new(tx, messages, [row])
    _insert_new(tx, deliveries, _new_deliveries(message_id, subject, names, now))


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


def claim(tx: sa.Connection, wanted: Mapping[str, Order], instance: str, limit: int, now: datetime) -> dict[str, Claim]:
    """Claim what is due for these targets, for each the oldest first, ``limit`` deliveries at most.

    Replicas claim for one target one after the other; who comes second tries again soon.
    A delivery behind one that waits for its next try is put off until then, so that a
    long backlog behind it is not looked at again and again. One that is only behind what
    ``instance`` sends already is claimed as well.
    """
    mine, busy = _lock(tx, wanted)
    due = _due(tx, mine, limit, now)
    lines: defaultdict[Line, list[Delivery]] = defaultdict(list)
    for each in due:
        lines[each.target, each.incident_id].append(each)
    blockers = _blockers(tx, {key: line[-1].id for key, line in lines.items() if wanted[key[0]] is not Order.NONE}, due)
    chains: dict[str, list[Chain]] = {name: [] for name in mine}
    put_off: defaultdict[datetime, list[int]] = defaultdict(list)
    for key, line in lines.items():
        target = key[0]
        if wanted[target] is Order.NONE:
            chains[target] += [Chain((each,)) for each in line]
        elif key not in blockers:
            chains[target].append(Chain(tuple(line)))
        elif all(blocker.claimed_by == instance for blocker in blockers[key]):
            chains[target].append(Chain(tuple(line), frozenset(blocker.id for blocker in blockers[key])))
        else:
            first = blockers[key][0]
            until = first.next_attempt_at if first.claimed_by is None else now + BEHIND_RUNNING
            ready = tuple(each for each in line if each.id < first.id)
            if ready:
                chains[target].append(Chain(ready))
            put_off[until] += [each.id for each in line[len(ready) :]]
    _update(tx, [each.id for got in chains.values() for chain in got for each in chain.deliveries], claimed_by=instance)
    for until, ids in put_off.items():
        _update(tx, ids, next_attempt_at=until)
    next_due = _next_due(tx, mine)
    claims = {name: Claim(tuple(chains[name]), next_due[name]) for name in mine}
    return {name: claims.get(name, Claim((), now + BUSY if name in busy else None)) for name in wanted}


def _lock(tx: sa.Connection, names: Collection[str]) -> tuple[list[str], set[str]]:
    """The targets that we may claim for until the transaction ends, and those that somebody else holds; none paused."""
    asked = bulk.among(tx, targets.c.name, names), targets.c.paused_at.is_(None)
    mine = list(tx.execute(sa.select(targets.c.name).where(*asked).with_for_update(skip_locked=True)).scalars())
    if len(mine) == len(names):
        return mine, set()
    return mine, set(tx.execute(sa.select(targets.c.name).where(*asked)).scalars()) - set(mine)


def _due(tx: sa.Connection, names: Collection[str], limit: int, now: datetime) -> list[Delivery]:
    """The deliveries to claim for each target, unless something holds them up, by their ids."""
    names_given = bulk.texts(tx, names)
    first = sa.select(*CLAIMED).where(deliveries.c.target == names_given.c.value, *FREE)
    first = first.where(deliveries.c.next_attempt_at <= now)
    first = first.order_by(deliveries.c.next_attempt_at, deliveries.c.id).limit(limit).correlate(names_given)
    if bulk.is_postgres(tx):
        found = first.lateral()
        query = sa.select(found).select_from(names_given.join(found, sa.true()))
    else:  # which knows no LATERAL
        chosen = deliveries.alias()
        ids = first.with_only_columns(deliveries.c.id).scalar_subquery()
        columns = [chosen.c[column.name] for column in CLAIMED]
        query = sa.select(*columns).select_from(names_given.join(chosen, chosen.c.id.in_(ids)))
    return sorted((Delivery(*row) for row in tx.execute(query).all()), key=lambda each: each.id)


def _blockers(tx: sa.Connection, last: Mapping[Line, int], due: Sequence[Delivery]) -> Mapping[Line, list[Any]]:
    """Of each target and incident the pending deliveries before the last one due that are not due themselves."""
    if not last:
        return {}
    columns = [deliveries.c.target, deliveries.c.incident_id, deliveries.c.id]
    rows = [{"target": target, "incident_id": incident, "id": number} for (target, incident), number in last.items()]
    line = bulk.records(tx, columns, rows)
    earlier = (
        deliveries.c.target == line.c.target,
        deliveries.c.incident_id == line.c.incident_id,
        deliveries.c.id < line.c.id,
        deliveries.c.state == PENDING,
        ~bulk.among(tx, deliveries.c.id, [each.id for each in due]),
    )
    query = sa.select(*columns, deliveries.c.claimed_by, deliveries.c.next_attempt_at).where(*earlier)
    found: defaultdict[Line, list[Any]] = defaultdict(list)
    for row in tx.execute(query.order_by(deliveries.c.id)).all():
        found[row.target, row.incident_id].append(row)
    return found


def _next_due(tx: sa.Connection, names: Collection[str]) -> dict[str, datetime | None]:
    """When each target has something to claim."""
    given = bulk.texts(tx, names)
    first = sa.select(sa.func.min(deliveries.c.next_attempt_at)).where(deliveries.c.target == given.c.value, *FREE)
    query = sa.select(given.c.value, first.correlate(given).scalar_subquery().label("due"))
    return {row.value: row.due for row in tx.execute(query)}


def load(tx: sa.Connection, message_ids: Collection[str]) -> dict[str, Message]:
    """Messages with their events; one whose event is gone is left out."""
    loaded: dict[str, Message] = {}
    told = messages.c.type.label("told_as")
    joined = sa.select(messages.c.id.label("message_id"), messages.c.trigger, told, events).join(
        events, events.c.seq == messages.c.event_seq
    )
    for row in tx.execute(joined.where(bulk.among(tx, messages.c.id, message_ids))).all():
        loaded[row.message_id] = Message(row.message_id, row.trigger, row.told_as or row.type, _event(row))
    return loaded | _load_others(tx, set(message_ids) - loaded.keys())


def _load_others(tx: sa.Connection, message_ids: Collection[str]) -> dict[str, Message]:
    """Messages that tell of actions or of several events, and alerts."""
    if not message_ids:
        return {}
    others = tx.execute(sa.select(messages).where(bulk.among(tx, messages.c.id, message_ids))).all()
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
    for row in tx.execute(query.where(bulk.among(tx, batched.c.message_id, message_ids)).order_by(events.c.seq)):
        found[row.message_id].append(_event(row))
    return found


def _event(row: Any) -> Event:  # noqa: ANN401 - a row with the columns of the events table
    return Event(
        id=row.id,
        type=EventType(row.type),
        connection=row.connection,
        incident_id=row.incident_id,
        occurred_at=row.occurred_at,
        detected_at=row.detected_at,
        detected_by=DetectedBy(row.detected_by),
        payload=orjson.loads(row.payload),
    )


def _alert(kind: str, told: Json) -> Alert:
    return Alert(kind, datetime.fromisoformat(told["at"]), told["data"])


def record(tx: sa.Connection, results: Sequence[Result], instance: str) -> None:
    """Write down attempts and what followed from them, for deliveries that ``instance`` still holds."""
    mine = deliveries.c.claimed_by == instance
    delivered: defaultdict[tuple[int | None, int], list[Result]] = defaultdict(list)
    for result in results:
        if result.state is DeliveryState.DELIVERED:
            delivered[result.status, result.delivery.attempts].append(result)
    for (status, before), group in delivered.items():
        values = {
            "state": "delivered",
            "attempts": before + 1,
            "claimed_by": None,
            "last_status": status,
            "last_error": None,
        }
        _update(tx, [each.delivery.id for each in group], mine, **values, finished_at=group[-1].at)
    failed = [each for each in results if each.state is not DeliveryState.DELIVERED]
    if failed:
        tx.execute(
            deliveries.update()
            .where(deliveries.c.id == sa.bindparam("delivery"), mine)
            .values(
                state=sa.bindparam("new_state"),
                attempts=sa.bindparam("made"),
                claimed_by=None,
                next_attempt_at=sa.func.coalesce(
                    sa.bindparam("again", type_=deliveries.c.next_attempt_at.type), deliveries.c.next_attempt_at
                ),
                finished_at=sa.bindparam("finished"),
                last_status=sa.bindparam("got"),
                last_error=sa.bindparam("why"),
            ),
            [_failure(each) for each in failed],
        )
    bulk.insert(tx, attempts, [_attempt(each) for each in results])


def _failure(result: Result) -> dict[str, Any]:
    return {
        "delivery": result.delivery.id,
        "new_state": result.state.value,
        "made": result.delivery.attempts + 1,
        "again": result.next_attempt_at,
        "finished": result.at if result.state is DeliveryState.DEAD else None,
        "got": result.status,
        "why": result.error,
    }


def _attempt(result: Result) -> dict[str, Any]:
    return {
        "delivery_id": result.delivery.id,
        "at": result.at,
        "duration_ms": result.duration_ms,
        "status": result.status,
        "error": result.error,
        "answer": result.answer,
    }


def give_back(tx: sa.Connection, ids: Collection[int], instance: str, until: datetime | None = None) -> None:
    """Give back deliveries that were claimed and not tried; ``until`` puts them off."""
    values: dict[str, Any] = {"claimed_by": None}
    if until is not None:
        values["next_attempt_at"] = until
    _update(tx, ids, deliveries.c.claimed_by == instance, **values)


def release(tx: sa.Connection, instances: Collection[str]) -> None:
    """Give back everything that dead daemons had claimed."""
    for part in _chunks(instances):
        held = (deliveries.c.state == PENDING) & deliveries.c.claimed_by.in_(part)
        tx.execute(deliveries.update().where(held).values(claimed_by=None))


def note_target(
    tx: sa.Connection, name: str, *, success_at: datetime | None, failing_since: datetime | None, error: str | None
) -> None:
    """Note how a target does: when it last took something, since when it takes nothing, and why."""
    values: dict[str, Any] = {"failing_since": failing_since, "last_error": error}
    if success_at is not None:
        values["last_success_at"] = success_at
    tx.execute(targets.update().where(targets.c.name == name).values(values))


def failing(tx: sa.Connection) -> dict[str, datetime]:
    """The targets that were failing when last written, and since when."""
    rows = tx.execute(sa.select(targets.c.name, targets.c.failing_since).where(targets.c.failing_since.is_not(None)))
    return {row.name: row.failing_since for row in rows}


def prune(tx: sa.Connection, *, delivered: timedelta, dead: timedelta, now: datetime, limit: int) -> int:
    """Remove old deliveries with their attempts, and messages without deliveries; answers how many deliveries went."""
    gone = 0
    for state, kept in ((DeliveryState.DELIVERED, delivered), (DeliveryState.DEAD, dead)):
        ended = (deliveries.c.state == state.value) & (deliveries.c.finished_at < now - kept)
        old = sa.select(deliveries.c.id).where(ended).order_by(deliveries.c.finished_at).limit(limit)
        for part in _chunks(tx.execute(old).scalars().all()):
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


def _update(tx: sa.Connection, ids: Collection[int], *conditions: sa.ColumnElement[bool], **values: Any) -> None:  # noqa: ANN401 - the columns' values
    chosen = bulk.among(tx, deliveries.c.id, ids)
    tx.execute(deliveries.update().where(chosen, *conditions).values(values))


def _chunks(items: Collection[Any]) -> list[list[Any]]:
    whole = list(items)
    return [whole[start : start + IN_CHUNK] for start in range(0, len(whole), IN_CHUNK)]


def _insert_new(tx: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    dialect = postgresql if tx.dialect.name == "postgresql" else sqlite
    for part in _chunks(rows):
        tx.execute(dialect.insert(table).on_conflict_do_nothing(), part)
