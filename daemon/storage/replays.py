"""Replays: delivered and dead deliveries are sent again, part by part. Also a single delivery, by hand.

Plain functions on an open transaction. A replay covers the deliveries that had ended when it was created: the same
messages with the same ids. Its position for each target is written in the transaction that requeues a part, so that
a crash neither skips nor repeats a part. Whoever requeues deliveries holds the rows of all open replays, so that
replicas do it one after the other.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

from daemon import errors
from daemon.model import DeliveryState, ReplayState
from daemon.storage import sql
from daemon.storage.schema import attempts, batched, deliveries, events, messages, replays, targets
from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime, timedelta

MOST_WAITING = 1000  # pending deliveries of one replay and target
REDELIVERED = 0  # in the column replay: redelivered alone, not by a replay
# Partial indexes are used only if the condition is written out.
PENDING = sa.text(f"state = '{DeliveryState.PENDING}'")
DEAD = sa.text(f"state = '{DeliveryState.DEAD}'")
ENDED = deliveries.c.state != DeliveryState.PENDING.value
OPEN = replays.c.finished_at.is_(None)


@dataclass(frozen=True, slots=True)
class ReplayFilter:
    """A filter for deliveries to send again: those created from ``since`` to ``until`` that match the other fields."""

    since: datetime
    until: datetime
    trigger: str | None = None
    target: str | None = None
    state: DeliveryState | None = None


@dataclass(frozen=True, slots=True)
class Matches:
    """The number of deliveries that a replay would send again, and of events that they are about.

    ``pending`` ones would match as well; they are left out, because they are still to be sent anyway.
    """

    events: int
    deliveries: int
    pending: int


@dataclass(frozen=True, slots=True)
class Progress:
    """The targets that got deliveries to send, and whether a replay is still open.

    ``left_over``: a daemon still holds deliveries of a cancelled replay.
    """

    targets: frozenset[str]
    has_more: bool
    left_over: bool = False


def create(tx: sa.Connection, replay_filter: ReplayFilter, names: Collection[str], now: datetime) -> int:
    """Create a replay for the filter's target, or for all of these names; return its id.

    Raises UsageError for years that not every database can represent in every time zone.
    """
    rows = _matching(tx, replay_filter, names)
    row = {
        "trigger": replay_filter.trigger,
        "target": replay_filter.target,
        "since": replay_filter.since,
        "until": replay_filter.until,
        "delivery_state": replay_filter.state,
        "state": ReplayState.RUNNING.value,
        "positions": sql.to_json({target: first - 1 for target, first, _, _ in rows}),
        "last": max((last for _, _, last, _ in rows), default=0),
        "total": sum(count for _, _, _, count in rows),
        "taken": 0,
        "created_at": now,
    }
    replay_id: int = tx.execute(replays.insert().values(row).returning(replays.c.id)).scalar_one()
    _end(tx, replay_id, now)
    return replay_id


def count(tx: sa.Connection, replay_filter: ReplayFilter, names: Collection[str]) -> Matches:
    """Return what a replay with these arguments would send again. Raises UsageError like ``create``."""
    rows = _matching(tx, replay_filter, names)
    chosen = ENDED, *_chosen(tx, replay_filter, names)
    sent = messages.alias()  # the conditions have messages of their own
    single = sa.select(sent.c.event_seq).join(deliveries, deliveries.c.message_id == sent.c.id)
    combined = sa.select(batched.c.event_seq).join(deliveries, deliveries.c.message_id == batched.c.message_id)
    about = sa.union(single.where(sent.c.event_seq > 0, *chosen), combined.where(*chosen)).subquery()
    pending = _chosen(tx, dataclasses.replace(replay_filter, state=None), names)
    numbers = (
        tx.execute(sa.select(sa.func.count()).select_from(about)).scalar_one(),
        sum(number for _, _, _, number in rows),
        tx.execute(sa.select(sa.func.count()).select_from(deliveries).where(PENDING, *pending)).scalar_one(),
    )
    return Matches(*map(int, numbers))


def _matching(tx: sa.Connection, replay_filter: ReplayFilter, names: Collection[str]) -> Sequence[Any]:
    """Return name, first id, last id and number of the matching deliveries of each target."""
    if not all(
        lenient_json.FIRST_YEAR <= each.year <= lenient_json.LAST_YEAR
        for each in (replay_filter.since, replay_filter.until)
    ):
        message = f"since and until must be between the years {lenient_json.FIRST_YEAR} and {lenient_json.LAST_YEAR}"
        raise errors.UsageError(message)
    first, last = sa.func.min(deliveries.c.id), sa.func.max(deliveries.c.id)
    counting = sa.select(deliveries.c.target, first, last, sa.func.count())
    chosen = counting.where(ENDED, *_chosen(tx, replay_filter, names))
    return tx.execute(chosen.group_by(deliveries.c.target)).all()


def _chosen(
    tx: sa.Connection, replay_filter: ReplayFilter, names: Collection[str]
) -> list[sa.ColumnElement[bool] | sa.TextClause]:
    """Return the conditions for deliveries to the filter's target, or to all of these names, that match the filter."""
    names = names if replay_filter.target is None else [replay_filter.target]
    return [sql.among(tx, deliveries.c.target, names), *_conditions(replay_filter)]


def has_open(tx: sa.Connection) -> bool:
    """Return whether a replay has not ended yet."""
    return tx.execute(sa.select(replays.c.id).where(OPEN).limit(1)).first() is not None


def advance(tx: sa.Connection, now: datetime) -> Progress:
    """Requeue the next part of each open replay, undo the rest of cancelled ones, and end those that are complete."""
    supplied: set[str] = set()
    open_replays = _lock(tx)
    for row in open_replays:
        if row.state == ReplayState.CANCELLED:
            _restore(tx, row.id, now)
        else:
            supplied |= _advance(tx, row, now)
    unfinished = [row for row in open_replays if not _end(tx, row.id, now)]
    return Progress(
        frozenset(supplied), bool(unfinished), any(row.state == ReplayState.CANCELLED for row in unfinished)
    )


def cancel(tx: sa.Connection, replay: int, now: datetime) -> None:
    """Cancel a replay. Deliveries that it has not sent get their old state back as soon as no daemon holds them."""
    if any(row.id == replay and row.state == ReplayState.RUNNING for row in _lock(tx)):
        _update(tx, replay, state=ReplayState.CANCELLED.value, positions=sql.to_json({}))
        _restore(tx, replay, now)
        _end(tx, replay, now)


def redeliver(tx: sa.Connection, delivery_id: int, now: datetime) -> bool:
    """Send one delivery again, or now if it is pending. False if it does not exist or its message was removed.

    A failing target, which gets one delivery at a time, is tried at once.
    """
    _lock(tx)
    one = deliveries.c.id == delivery_id
    waiting = deliveries.update().where(one, ~ENDED).values(next_attempt_at=now)
    if tx.execute(waiting.returning(deliveries.c.id)).first() is not None:
        _hurry_behind(tx, delivery_id, now)
    else:
        sendable = sa.select(deliveries.c.id).where(one, *_conditions(None))
        if not _requeue(tx, list(tx.execute(sendable).scalars()), REDELIVERED, now):
            return False
    _try_now(tx, delivery_id)
    return True


def _try_now(tx: sa.Connection, delivery_id: int) -> None:
    """Make the target of a delivery ready for a probe if it is failing.

    One that is being claimed or recorded is left as it is: that may wait for the delivery.
    """
    name = sa.select(deliveries.c.target).where(deliveries.c.id == delivery_id).scalar_subquery()
    failing = targets.c.name == name, targets.c.failing_since.is_not(None), targets.c.paused_at.is_(None)
    free = sa.select(targets.c.name).where(*failing).with_for_update(skip_locked=True)
    tx.execute(targets.update().where(targets.c.name.in_(free)).values(probe_at=None))


def _hurry_behind(tx: sa.Connection, delivery_id: int, now: datetime) -> None:
    """Make deliveries due that were put off behind a pending one."""
    first = deliveries.alias()
    same = first.c.target == deliveries.c.target, first.c.incident_id == deliveries.c.incident_id
    behind = sa.exists().where(first.c.id == delivery_id, *same, first.c.id < deliveries.c.id)
    put_off = PENDING, deliveries.c.attempts == 0, deliveries.c.next_attempt_at > now
    tx.execute(deliveries.update().where(*put_off, behind).values(next_attempt_at=now))


def prune(tx: sa.Connection, retention: timedelta, now: datetime, limit: int) -> int:
    """Remove replays that ended more than ``retention`` ago, at most ``limit``; return how many."""
    old = sa.select(replays.c.id).where(replays.c.finished_at < now - retention).limit(limit)
    return int(tx.execute(replays.delete().where(replays.c.id.in_(old))).rowcount)


def _lock(tx: sa.Connection) -> Sequence[Any]:
    """Lock the open replays until the transaction ends, in a fixed order that rules out deadlocks."""
    return tx.execute(sa.select(replays).where(OPEN).order_by(replays.c.id).with_for_update()).all()


def _conditions(replay_filter: ReplayFilter | None) -> list[sa.ColumnElement[bool] | sa.TextClause]:
    """Return the conditions for deliveries that match the filter and whose message can still be rendered."""
    of_message = messages.c.id == deliveries.c.message_id
    is_available = (messages.c.event_seq == 0) | sa.exists().where(events.c.seq == messages.c.event_seq)
    if replay_filter is None:
        return [sa.exists().where(of_message, is_available)]
    conditions: list[sa.ColumnElement[bool] | sa.TextClause] = [
        deliveries.c.created_at >= replay_filter.since,
        deliveries.c.created_at <= replay_filter.until,
    ]
    if replay_filter.trigger is not None:
        of_message &= messages.c.trigger == replay_filter.trigger
    if replay_filter.state is DeliveryState.DEAD:
        conditions.append(DEAD)
    elif replay_filter.state is not None:
        conditions.append(deliveries.c.state == replay_filter.state.value)
    return [*conditions, sa.exists().where(of_message, is_available)]


def _advance(tx: sa.Connection, row: Any, now: datetime) -> set[str]:  # noqa: ANN401 - a row of the replays table
    """Requeue the next part for each target that has sent half of its last one; return those targets."""
    positions: dict[str, int] = orjson.loads(row.positions)
    mine = deliveries.c.replay == row.id, PENDING
    counting = sa.select(deliveries.c.target, sa.func.count()).where(*mine).group_by(deliveries.c.target)
    waiting = {target: int(count) for target, count in tx.execute(counting)}
    taken, supplied = 0, set()
    for target, position in list(positions.items()):
        room = MOST_WAITING - waiting.get(target, 0)
        if room < MOST_WAITING // 2:
            continue
        ids = _next(tx, row, target, position, room, now)
        if count := _requeue(tx, ids, row.id, now):
            taken += count
            supplied.add(target)
        if len(ids) < room:
            del positions[target]
        else:
            positions[target] = ids[-1]
    _update(tx, row.id, positions=sql.to_json(positions), taken=row.taken + taken)
    return supplied


def _next(tx: sa.Connection, row: Any, target: str, position: int, limit: int, now: datetime) -> list[int]:  # noqa: ANN401 - as above
    """Return the ids of a target's next deliveries in a replay, without those sent since it was created."""
    state = None if row.delivery_state is None else DeliveryState(row.delivery_state)
    replay_filter = ReplayFilter(row.since, row.until, row.trigger, row.target, state)
    ahead = deliveries.c.target == target, deliveries.c.id > position, deliveries.c.id <= row.last
    meanwhile = (deliveries.c.finished_at > row.created_at) & (deliveries.c.finished_at <= now)
    chosen = sa.select(deliveries.c.id).where(*ahead, ENDED, ~meanwhile, *_conditions(replay_filter))
    return list(tx.execute(chosen.order_by(deliveries.c.id).limit(limit)).scalars())


def _requeue(tx: sa.Connection, ids: Collection[int], replay: int, now: datetime) -> int:
    """Requeue deliveries that have ended, with new attempts and a new horizon; return how many.

    An open replay that requeued one before keeps counting it as dead.
    """
    if not ids:
        return 0
    chosen = sql.among(tx, deliveries.c.id, ids)
    counted = sa.select(deliveries.c.replay, sa.func.count()).where(chosen, DEAD, deliveries.c.replay > REDELIVERED)
    for other, count in tx.execute(counted.group_by(deliveries.c.replay)).all():
        mine = replays.update().where(replays.c.id == other, OPEN)
        tx.execute(mine.values(dead=sa.func.coalesce(replays.c.dead, 0) + count))
    values = {
        "state": DeliveryState.PENDING.value,
        "state_before": deliveries.c.state,
        "replay": replay,
        "attempts": 0,
        "renewed_at": now,
        "next_attempt_at": now,
        "claimed_by": None,
        "finished_at": None,
    }
    return int(tx.execute(deliveries.update().where(chosen, ENDED).values(values)).rowcount)


def _restore(tx: sa.Connection, replay: int, now: datetime) -> None:
    """Give the unsent deliveries of a replay their old state back, with the values of their last attempt.

    Holding the targets' rows keeps claims away meanwhile.
    """
    tx.execute(sa.select(targets.c.name).order_by(targets.c.name).with_for_update())
    of_delivery = attempts.c.delivery_id == deliveries.c.id
    succeeded = of_delivery & attempts.c.error.is_(None)
    was_delivered = deliveries.c.state_before == DeliveryState.DELIVERED.value
    status = sa.select(attempts.c.status).where(succeeded).order_by(attempts.c.id.desc()).limit(1).scalar_subquery()
    last_at = sa.select(sa.func.max(attempts.c.at)).where(of_delivery).scalar_subquery()
    values: Mapping[str, Any] = {
        "state": deliveries.c.state_before,
        "attempts": sa.select(sa.func.count()).select_from(attempts).where(of_delivery).scalar_subquery(),
        "finished_at": sa.func.coalesce(last_at, sa.literal(now, deliveries.c.finished_at.type)),
        "last_status": sa.case((was_delivered, status), else_=deliveries.c.last_status),
        "last_error": sa.case((was_delivered, sa.null()), else_=deliveries.c.last_error),
        "replay": None,
        "renewed_at": None,
    }
    unsent = deliveries.c.replay == replay, PENDING, deliveries.c.claimed_by.is_(None)
    count = tx.execute(deliveries.update().where(*unsent).values(values)).rowcount
    _update(tx, replay, taken=replays.c.taken - count)


def _end(tx: sa.Connection, replay: int, now: datetime) -> bool:
    """End a replay that has nothing left to requeue or send, and store its counts. False: it goes on."""
    mine = deliveries.c.replay == replay
    row = tx.execute(sa.select(replays).where(replays.c.id == replay)).one()
    pending = tx.execute(sa.select(deliveries.c.id).where(mine, PENDING).limit(1)).first()
    if pending is not None or orjson.loads(row.positions):
        return False
    count = tx.execute(sa.select(sa.func.count()).select_from(deliveries).where(mine, DEAD)).scalar_one()
    dead = (row.dead or 0) + count
    state = ReplayState.FINISHED if row.state == ReplayState.RUNNING else ReplayState.CANCELLED
    _update(tx, replay, state=state.value, finished_at=now, dead=dead, delivered=row.taken - dead)
    return True


def _update(tx: sa.Connection, replay: int, **values: Any) -> None:  # noqa: ANN401 - the columns' values
    tx.execute(replays.update().where(replays.c.id == replay).values(values))
