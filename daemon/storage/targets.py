"""The stored state of targets, shared by all daemons: pauses, failures and probes."""

from __future__ import annotations

import dataclasses
import functools
import operator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from daemon.model import DeliveryState, TargetState
from daemon.storage import sql
from daemon.storage.deliveries import PENDING, message_rejected, unclaimed, waiting_since
from daemon.storage.schema import deliveries, targets

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from daemon.model import TargetChange


EXPIRED = "the target kept failing until the end of the retry horizon (see retry.horizon)"
PROBE_LEASE = timedelta(seconds=75)  # longer than an attempt can take
PAUSE = ("paused_at", "paused_reason", "probe_at", "blocked_until")
STATE = tuple(each.name for each in dataclasses.fields(TargetState))
_state = operator.attrgetter(*STATE)
PAUSED = sa.select(targets.c.name).where(targets.c.paused_at.is_not(None))
EXPIRED_AT_ONCE = 2000  # deliveries in one transaction
NONE: Mapping[str, int] = {}
SUCCESS = (targets.c.name, targets.c.last_success_at)


def state_of(row: Any) -> TargetState:  # noqa: ANN401 - a row of the targets table
    """Return a target's state."""
    return TargetState(*_state(row))


def ensure(tx: sa.Connection, names: Iterable[str]) -> None:
    """Create the missing rows of targets."""
    sql.insert_new(tx, targets, [{"name": name} for name in names])


def pause(tx: sa.Connection, name: str, reason: str, now: datetime) -> None:
    """Send nothing to a target until it is resumed. A paused target keeps its reason."""
    running = targets.c.name == name, targets.c.paused_at.is_(None)
    tx.execute(targets.update().where(*running).values(paused_at=now, paused_reason=reason))


def resume(tx: sa.Connection, name: str, now: datetime) -> None:
    """Send to a target again, and make its pending deliveries due.

    One that is failing is tried at once, but goes on failing until it accepts a message, paused or not.
    """
    is_well = targets.c.failing_since.is_(None) & targets.c.refusing_since.is_(None)
    error = sa.case((is_well, None), else_=targets.c.last_error)  # of one that is well, it was the reason of the pause
    resumed = targets.update().where(targets.c.name == name)
    tx.execute(resumed.values(dict.fromkeys(PAUSE) | {"probes": 0, "last_error": error}))
    hurry(tx, name, now)


def hurry(tx: sa.Connection, name: str, now: datetime) -> None:
    """Make a target's pending deliveries due, the oldest first, and after them those that failed before.

    Deliveries whose message was rejected keep their time.
    """
    waiting = deliveries.c.target == name, *unclaimed(), ~message_rejected()
    due = sa.case(
        (deliveries.c.attempts == 0, waiting_since()), else_=sa.literal(now, deliveries.c.next_attempt_at.type)
    )
    tx.execute(deliveries.update().where(*waiting, deliveries.c.next_attempt_at > due).values(next_attempt_at=due))


def expire_backlog(tx: sa.Connection, name: str, since: datetime, tried: Collection[str], now: datetime) -> int:
    """Expire deliveries that have been pending since ``since`` or before, at most ``EXPIRED_AT_ONCE``; return how many.

    This is for a target that has been failing for that long: a failed probe stands for every delivery that could have
    been the probe. It excludes deliveries behind others, and those of the incidents in ``tried``, which were behind the
    probe.
    """
    before = deliveries.alias()
    line = before.c.target == deliveries.c.target, before.c.incident_id == deliveries.c.incident_id
    of_class = before.c.replay.is_(None) == deliveries.c.replay.is_(None)
    earlier = sa.select(before.c.id).where(*line, of_class, before.c.id < deliveries.c.id, before.c.state == PENDING)
    behind = earlier.offset(0).correlate(deliveries).exists()  # PostgreSQL looks each one up, and makes no join
    waiting = deliveries.c.target == name, *unclaimed()
    passed_over = (deliveries.c.attempts > 0) | (deliveries.c.next_attempt_at <= now)
    old = waiting_since() <= since, passed_over, deliveries.c.incident_id.not_in(tried), ~behind
    chosen = sa.select(deliveries.c.id).where(*waiting, *old).order_by(deliveries.c.id).limit(EXPIRED_AT_ONCE)
    error = sa.func.coalesce(deliveries.c.last_error, EXPIRED)
    values = {"state": DeliveryState.DEAD.value, "finished_at": now, "last_error": error}
    return int(tx.execute(deliveries.update().where(deliveries.c.id.in_(chosen)).values(values)).rowcount)


def paused(tx: sa.Connection) -> frozenset[str]:
    """Return the names of the paused targets."""
    return frozenset(tx.execute(PAUSED).scalars())


def free_probes(tx: sa.Connection, dead: Collection[str], now: datetime) -> None:
    """Make targets that dead daemons were probing ready for a probe. Pauses requested by targets remain."""
    held = deliveries.c.state == PENDING, deliveries.c.claimed_by.in_(dead)
    leased = targets.c.failing_since.is_not(None), targets.c.probe_at > now
    probed = targets.c.name.in_(sa.select(deliveries.c.target).where(*held))
    if dead:
        tx.execute(targets.update().where(*leased, probed).values(probe_at=now))


def record_states(
    tx: sa.Connection, changes: Mapping[str, TargetChange], now: datetime, failed: Mapping[str, int] = NONE
) -> frozenset[str]:
    """Record changes by the targets' names; return those that were overtaken.

    ``failed`` has the delivery of the last failed attempt of each target that had one.

    A target is not recorded as failing if its row has another ``failing_since`` than the change builds on: somebody has
    resumed it, it has taken a delivery from another daemon, or another daemon recorded the failure first. Rows are
    locked in the order of their names, so that two writers never wait for each other.
    """
    names = sorted(changes.keys() | failed.keys())
    if len(names) > 1:
        tx.execute(_locking(postgres=sql.is_postgres(tx)), {"names": names})
    _record_successes(tx, {name: each.success_at for name, each in changes.items() if each.success_at is not None})
    overtaken = set()
    for name in names:
        one = targets.update().where(targets.c.name == name)
        if name in failed:
            tx.execute(one.values(last_failed=failed[name]))
        if (change := changes.get(name)) is None:
            continue
        if change.blocked_until is not None:
            longer = targets.c.blocked_until.is_(None) | (targets.c.blocked_until < change.blocked_until)
            tx.execute(one.where(longer).values(blocked_until=change.blocked_until))
        if change.refusing_since is not None:  # after the success, if there is one as well
            tx.execute(one.values(refusing_since=change.refusing_since, last_error=change.refusal))
        if change.circuit is not None and not _record_circuit(tx, one, change, change.circuit):
            overtaken.add(name)
        if change.gone_at is not None:
            pause(tx, name, change.gone_reason, change.gone_at)
        elif change.recovered:
            hurry(tx, name, now)
    return frozenset(overtaken)


@functools.cache
def _locking(*, postgres: bool) -> sa.Select[Any]:
    """Return the statement that locks these targets one after the other."""
    chosen = sql.among_parameter(sql.many("names", targets.c.name.type), targets.c.name, postgres=postgres)
    return sa.select(targets.c.name).where(chosen).order_by(targets.c.name).with_for_update()


def _record_successes(tx: sa.Connection, successes: Mapping[str, datetime]) -> None:
    """Record the last success of each target, which ends a refusal."""
    rows = [{"name": name, "last_success_at": at} for name, at in successes.items()]
    if rows:
        tx.execute(_succeeding(postgres=sql.is_postgres(tx)), {"rows": sql.row_values(tx, SUCCESS, rows)})


@functools.cache
def _succeeding(*, postgres: bool) -> sa.Update:
    rows = sql.row_table("rows", SUCCESS, postgres=postgres)
    refusal = sa.case((targets.c.refusing_since.is_(None), targets.c.last_error), else_=sa.null())
    succeeded = targets.update().where(targets.c.name == rows.c.name)
    return succeeded.values(last_success_at=rows.c.last_success_at, refusing_since=None, last_error=refusal)


def _record_circuit(tx: sa.Connection, one: sa.Update, change: TargetChange, circuit: TargetState) -> bool:
    since = circuit.failing_since
    values: dict[str, Any] = {"failing_since": since, "probe_at": circuit.probe_at, "probes": circuit.probes}
    if circuit.last_error is not None or since is None:
        values["last_error"] = circuit.last_error
    if since is not None:
        one = one.where(targets.c.failing_since.is_not_distinct_from(change.known_failing_since))
    return tx.execute(one.values(values)).rowcount > 0
