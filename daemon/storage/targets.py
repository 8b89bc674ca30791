"""How targets do, written down for every daemon: whether they are failing, when to probe them, who paused them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from daemon.model import DeliveryState
from daemon.storage import sql
from daemon.storage.deliveries import PENDING, begun, free, refused
from daemon.storage.schema import deliveries, targets

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime


HOPELESS = "the target has been failing for as long as this was to be tried (see retry.horizon)"
PROBE_LEASE = timedelta(seconds=75)  # longer than an attempt can take
EXPIRED_AT_ONCE = 2000  # in one transaction


@dataclass(frozen=True, slots=True)
class Standing:
    """How a target is doing, as far as all daemons know. ``probes`` counts those that failed.

    ``waits``: there is a time before which nothing is sent; ``until`` if the target asked for it.
    """

    paused: bool = False
    failing_since: datetime | None = None
    probes: int = 0
    waits: bool = False
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """How a target does. Unless it has ``changed``, only the time of the last success is news.

    ``hopeless``: it has been failing for the whole horizon of what began to wait before then. ``known`` is the
    ``failing_since`` that it builds on, as it was read or written the last time.
    """

    name: str
    success_at: datetime | None
    changed: bool
    failing_since: datetime | None = None
    error: str | None = None
    probe_at: datetime | None = None
    blocked_until: datetime | None = None
    probes: int = 0
    paused_at: datetime | None = None
    hopeless: datetime | None = None
    known: datetime | None = None


def ensure(tx: sa.Connection, names: Iterable[str]) -> None:
    """Make rows for targets that have none yet."""
    sql.insert_new(tx, targets, [{"name": name} for name in names])


def pause(tx: sa.Connection, name: str, reason: str, now: datetime) -> None:
    """Send nothing to a target until it is resumed. One that is paused already stays so, for its own reason."""
    running = targets.c.name == name, targets.c.paused_at.is_(None)
    tx.execute(targets.update().where(*running).values(paused_at=now, paused_reason=reason))


def resume(tx: sa.Connection, name: str, now: datetime) -> None:
    """Send to a target again, at once and all that waits for it, as if it had never failed."""
    nothing = dict.fromkeys(("paused_at", "paused_reason", "failing_since", "probe_at", "blocked_until", "last_error"))
    tx.execute(targets.update().where(targets.c.name == name).values(**nothing, probes=0))
    hurry(tx, name, now)


def hurry(tx: sa.Connection, name: str, now: datetime) -> None:
    """Make what waits for a target due, the oldest first; behind it what failed before, which may do so again.

    What it refused for its own sake waits its time.
    """
    waiting = deliveries.c.target == name, *free(), ~refused()
    due = sa.case((deliveries.c.attempts == 0, begun()), else_=sa.literal(now, deliveries.c.next_attempt_at.type))
    tx.execute(deliveries.update().where(*waiting, deliveries.c.next_attempt_at > due).values(next_attempt_at=due))


def expire(tx: sa.Connection, name: str, since: datetime, tried: Collection[str], now: datetime) -> int:
    """Give up what waits for a target since before ``since``, a bounded part of it; answers how many.

    For a target that has been failing as long: a probe that fails speaks for all that could have been one. Not for
    what waits behind another, nor for what of the incidents in ``tried`` was behind that until a moment ago.
    """
    before = deliveries.alias()
    line = before.c.target == deliveries.c.target, before.c.incident_id == deliveries.c.incident_id
    of_class = before.c.replay.is_(None) == deliveries.c.replay.is_(None)
    behind = sa.exists().where(*line, of_class, before.c.id < deliveries.c.id, before.c.state == PENDING)
    waiting = deliveries.c.target == name, *free()
    passed_over = (deliveries.c.attempts > 0) | (deliveries.c.next_attempt_at <= now)
    old = begun() <= since, passed_over, deliveries.c.incident_id.not_in(tried), ~behind
    chosen = sa.select(deliveries.c.id).where(*waiting, *old).order_by(deliveries.c.id).limit(EXPIRED_AT_ONCE)
    error = sa.func.coalesce(deliveries.c.last_error, HOPELESS)
    values = {"state": DeliveryState.DEAD.value, "finished_at": now, "last_error": error}
    return int(tx.execute(deliveries.update().where(deliveries.c.id.in_(chosen)).values(values)).rowcount)


def ready_at(row: Any) -> datetime | None:  # noqa: ANN401 - a row of the targets table
    """Return when the target may get something: after its pause, and a failing one not before its next probe."""
    times = [row.blocked_until, row.probe_at if row.failing_since is not None else None]
    return max((at for at in times if at is not None), default=None)


def paused(tx: sa.Connection) -> frozenset[str]:
    """The targets that get nothing for the time being."""
    return frozenset(tx.execute(sa.select(targets.c.name).where(targets.c.paused_at.is_not(None))).scalars())


def free_probes(tx: sa.Connection, dead: Collection[str], now: datetime) -> None:
    """Let what dead daemons were probing be probed at once. A target that asked for a pause gets it."""
    held = deliveries.c.state == PENDING, deliveries.c.claimed_by.in_(dead)
    leased = targets.c.failing_since.is_not(None), targets.c.probe_at > now
    probed = targets.c.name.in_(sa.select(deliveries.c.target).where(*held))
    if dead:
        tx.execute(targets.update().where(*leased, probed).values(probe_at=now))


def note_targets(tx: sa.Connection, notes: Sequence[Note], now: datetime) -> frozenset[str]:
    """Note how targets do; answers of which it was not noted that they fail, since others know better.

    Somebody has resumed such a target since then, or it has taken something from another daemon, or that has noted
    it first. In an order, or two who write could wait for one another.
    """
    overtaken = set()
    for note in sorted(notes, key=lambda each: each.name):
        one = targets.update().where(targets.c.name == note.name)
        if note.success_at is not None:
            tx.execute(one.values(last_success_at=note.success_at))
        if note.changed:
            values: dict[str, Any] = {"failing_since": note.failing_since, "probe_at": note.probe_at}
            values["blocked_until"] = note.blocked_until
            values["probes"] = note.probes
            if note.error is not None or note.failing_since is None:
                values["last_error"] = note.error
            if note.failing_since is not None:
                one = one.where(targets.c.failing_since.is_not_distinct_from(note.known))
            if not tx.execute(one.values(values)).rowcount:
                overtaken.add(note.name)
        if note.paused_at is not None:
            pause(tx, note.name, note.error or "", note.paused_at)
        elif note.changed and note.failing_since is None and note.blocked_until is None:
            hurry(tx, note.name, now)
    return frozenset(overtaken)
