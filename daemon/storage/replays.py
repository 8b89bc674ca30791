"""Replays, stored: what was delivered or is dead is sent again, part by part. And one delivery, by hand.

Plain functions on an open transaction. A replay takes up what was delivered or dead when it was
made: the same messages with the same ids. How far it has come for each target is written in the
transaction that takes a part up, so that a crash forgets nothing and takes nothing up twice.
Whoever takes deliveries up holds the rows of all open replays: replicas do so one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

from daemon import errors
from daemon.model import DeliveryState, ReplayState
from daemon.storage import sql
from daemon.storage.schema import attempts, deliveries, events, messages, replays, targets
from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime, timedelta

MOST_WAITING = 1000  # that a replay has taken up for one target
BY_HAND = 0  # what is redelivered belongs to no replay
# Partial indexes are used only where the condition is written out.
PENDING = sa.text(f"state = '{DeliveryState.PENDING}'")
DEAD = sa.text(f"state = '{DeliveryState.DEAD}'")
ENDED = deliveries.c.state != DeliveryState.PENDING.value
OPEN = replays.c.finished_at.is_(None)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be sent again: the deliveries that were made in this time, and what else they must be."""

    since: datetime
    until: datetime
    trigger: str | None = None
    target: str | None = None
    state: DeliveryState | None = None


@dataclass(frozen=True, slots=True)
class Fed:
    """What came of feeding: the targets that got something to send, and whether replays go on.

    ``left_over``: of one that was cancelled a daemon still holds something.
    """

    targets: frozenset[str]
    going_on: bool
    left_over: bool = False


def create(tx: sa.Connection, wanted: Wanted, names: Collection[str], now: datetime) -> int:
    """Make a replay, for all targets of these names unless one is wanted; answers its id.

    Raises UsageError if its time is one that not every database has in every zone.
    """
    if not all(lenient_json.FIRST_YEAR <= each.year <= lenient_json.LAST_YEAR for each in (wanted.since, wanted.until)):
        message = f"since and until must be between the years {lenient_json.FIRST_YEAR} and {lenient_json.LAST_YEAR}"
        raise errors.UsageError(message)
    names = names if wanted.target is None else [wanted.target]
    first, last = sa.func.min(deliveries.c.id), sa.func.max(deliveries.c.id)
    chosen = sql.among(tx, deliveries.c.target, names), ENDED, *_fitting(wanted)
    counting = sa.select(deliveries.c.target, first, last, sa.func.count()).where(*chosen)
    found = tx.execute(counting.group_by(deliveries.c.target)).all()
    row = {
        "trigger": wanted.trigger,
        "target": wanted.target,
        "since": wanted.since,
        "until": wanted.until,
        "delivery_state": wanted.state,
        "state": ReplayState.RUNNING.value,
        "positions": _text({target: first - 1 for target, first, _, _ in found}),
        "last": max((last for _, _, last, _ in found), default=0),
        "total": sum(count for _, _, _, count in found),
        "taken": 0,
        "created_at": now,
    }
    made: int = tx.execute(replays.insert().values(row).returning(replays.c.id)).scalar_one()
    _end(tx, made, now)
    return made


def has_open(tx: sa.Connection) -> bool:
    """Whether a replay is not at its end."""
    return tx.execute(sa.select(replays.c.id).where(OPEN).limit(1)).first() is not None


def feed(tx: sa.Connection, now: datetime) -> Fed:
    """Take up what each open replay may send next, take back what a cancelled one has left, end what is at its end."""
    fed: set[str] = set()
    open_ones = _lock(tx)
    for row in open_ones:
        if row.state == ReplayState.CANCELLED:
            _give_back(tx, row.id, now)
        else:
            fed |= _feed(tx, row, now)
    on = [row for row in open_ones if not _end(tx, row.id, now)]
    return Fed(frozenset(fed), bool(on), any(row.state == ReplayState.CANCELLED for row in on))


def cancel(tx: sa.Connection, replay: int, now: datetime) -> None:
    """Stop a replay. What it has not sent becomes again what it was, as soon as nobody is about to send it."""
    if any(row.id == replay and row.state == ReplayState.RUNNING for row in _lock(tx)):
        _update(tx, replay, state=ReplayState.CANCELLED.value, positions=_text({}))
        _give_back(tx, replay, now)
        _end(tx, replay, now)


def redeliver(tx: sa.Connection, delivery_id: int, now: datetime) -> bool:
    """Send one delivery again, or now if it is pending. False if there is none, or its message is gone."""
    _lock(tx)
    one = deliveries.c.id == delivery_id
    waiting = deliveries.update().where(one, ~ENDED).values(next_attempt_at=now)
    if tx.execute(waiting.returning(deliveries.c.id)).first() is not None:
        _hurry_behind(tx, delivery_id, now)
        return True
    can_be_sent = sa.select(deliveries.c.id).where(one, *_fitting(None))
    return _take(tx, list(tx.execute(can_be_sent).scalars()), BY_HAND, now) > 0


def _hurry_behind(tx: sa.Connection, delivery_id: int, now: datetime) -> None:
    """Let what was put off behind a pending delivery go with it."""
    first = deliveries.alias()
    same = first.c.target == deliveries.c.target, first.c.incident_id == deliveries.c.incident_id
    behind = sa.exists().where(first.c.id == delivery_id, *same, first.c.id < deliveries.c.id)
    put_off = PENDING, deliveries.c.attempts == 0, deliveries.c.next_attempt_at > now
    tx.execute(deliveries.update().where(*put_off, behind).values(next_attempt_at=now))


def prune(tx: sa.Connection, kept: timedelta, now: datetime, limit: int) -> int:
    """Remove replays that ended long ago."""
    old = sa.select(replays.c.id).where(replays.c.finished_at < now - kept).limit(limit)
    return int(tx.execute(replays.delete().where(replays.c.id.in_(old))).rowcount)


def _lock(tx: sa.Connection) -> Sequence[Any]:
    """The open replays, held until the transaction ends; in an order, or two could wait for one another."""
    return tx.execute(sa.select(replays).where(OPEN).order_by(replays.c.id).with_for_update()).all()


def _fitting(wanted: Wanted | None) -> list[sa.ColumnElement[bool] | sa.TextClause]:
    """What deliveries must be: wanted, and of a message that can still be told."""
    of_message = messages.c.id == deliveries.c.message_id
    kept = (messages.c.event_seq == 0) | sa.exists().where(events.c.seq == messages.c.event_seq)
    if wanted is None:
        return [sa.exists().where(of_message, kept)]
    found: list[sa.ColumnElement[bool] | sa.TextClause] = [
        deliveries.c.created_at >= wanted.since,
        deliveries.c.created_at <= wanted.until,
    ]
    if wanted.trigger is not None:
        of_message &= messages.c.trigger == wanted.trigger
    if wanted.state is DeliveryState.DEAD:
        found.append(DEAD)
    elif wanted.state is not None:
        found.append(deliveries.c.state == wanted.state.value)
    return [*found, sa.exists().where(of_message, kept)]


def _feed(tx: sa.Connection, row: Any, now: datetime) -> set[str]:  # noqa: ANN401 - a row of the replays table
    """Take up the next part for each target that has sent half of what it had; answers which targets those are."""
    positions: dict[str, int] = orjson.loads(row.positions)
    mine = deliveries.c.replay == row.id, PENDING
    counting = sa.select(deliveries.c.target, sa.func.count()).where(*mine).group_by(deliveries.c.target)
    waiting = {target: int(count) for target, count in tx.execute(counting)}
    taken, fed = 0, set()
    for target, position in list(positions.items()):
        room = MOST_WAITING - waiting.get(target, 0)
        if room < MOST_WAITING // 2:
            continue
        ids = _next(tx, row, target, position, room, now)
        if count := _take(tx, ids, row.id, now):
            taken += count
            fed.add(target)
        if len(ids) < room:
            del positions[target]
        else:
            positions[target] = ids[-1]
    _update(tx, row.id, positions=_text(positions), taken=row.taken + taken)
    return fed


def _next(tx: sa.Connection, row: Any, target: str, position: int, limit: int, now: datetime) -> list[int]:  # noqa: ANN401 - as above
    """The next deliveries of a target that a replay is to take up. What was sent since it was made is left alone."""
    state = None if row.delivery_state is None else DeliveryState(row.delivery_state)
    wanted = Wanted(row.since, row.until, row.trigger, row.target, state)
    ahead = deliveries.c.target == target, deliveries.c.id > position, deliveries.c.id <= row.last
    meanwhile = (deliveries.c.finished_at > row.created_at) & (deliveries.c.finished_at <= now)
    chosen = sa.select(deliveries.c.id).where(*ahead, ENDED, ~meanwhile, *_fitting(wanted))
    return list(tx.execute(chosen.order_by(deliveries.c.id).limit(limit)).scalars())


def _take(tx: sa.Connection, ids: Collection[int], replay: int, now: datetime) -> int:
    """Take up deliveries that have ended; answers how many.

    They start anew: attempts, horizon. What open replays had taken up before and is dead, they keep in their count.
    """
    if not ids:
        return 0
    chosen = sql.among(tx, deliveries.c.id, ids)
    counted = sa.select(deliveries.c.replay, sa.func.count()).where(chosen, DEAD, deliveries.c.replay > BY_HAND)
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


def _give_back(tx: sa.Connection, replay: int, now: datetime) -> None:
    """Let what a replay has not sent be again what it was: delivered or dead, by the attempts that were made.

    Who holds the targets' rows is not disturbed by a claim.
    """
    tx.execute(sa.select(targets.c.name).order_by(targets.c.name).with_for_update())
    made = attempts.c.delivery_id == deliveries.c.id
    succeeded = made & attempts.c.error.is_(None)
    was_delivered = deliveries.c.state_before == DeliveryState.DELIVERED.value
    status = sa.select(attempts.c.status).where(succeeded).order_by(attempts.c.id.desc()).limit(1).scalar_subquery()
    last_at = sa.select(sa.func.max(attempts.c.at)).where(made).scalar_subquery()
    values: Mapping[str, Any] = {
        "state": deliveries.c.state_before,
        "attempts": sa.select(sa.func.count()).select_from(attempts).where(made).scalar_subquery(),
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
    """End a replay of which nothing is left to take up or to send, and write down what came of it."""
    mine = deliveries.c.replay == replay
    row = tx.execute(sa.select(replays).where(replays.c.id == replay)).one()
    pending = tx.execute(sa.select(deliveries.c.id).where(mine, PENDING).limit(1)).first()
    if pending is not None or orjson.loads(row.positions):
        return False
    found = tx.execute(sa.select(sa.func.count()).select_from(deliveries).where(mine, DEAD)).scalar_one()
    dead = (row.dead or 0) + found
    state = ReplayState.FINISHED if row.state == ReplayState.RUNNING else ReplayState.CANCELLED
    _update(tx, replay, state=state.value, finished_at=now, dead=dead, delivered=row.taken - dead)
    return True


def _update(tx: sa.Connection, replay: int, **values: Any) -> None:  # noqa: ANN401 - the columns' values
    tx.execute(replays.update().where(replays.c.id == replay).values(values))


def _text(positions: Mapping[str, int]) -> str:
    return orjson.dumps(positions).decode()
