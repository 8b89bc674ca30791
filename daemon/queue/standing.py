"""How targets do, written down for every daemon: whether they are failing, when to probe them, who paused them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from daemon import backoff
from daemon.queue.rows import PENDING
from daemon.schema import deliveries, targets

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """How a target is doing, as far as all daemons know. ``probes`` counts those that failed."""

    paused: bool = False
    failing_since: datetime | None = None
    probes: int = 0


@dataclass(frozen=True, slots=True)
class Note:
    """How a target does. Unless it has ``changed``, only the time of the last success is news."""

    name: str
    success_at: datetime | None
    changed: bool
    failing_since: datetime | None = None
    error: str | None = None
    probe_at: datetime | None = None
    probes: int = 0
    paused_at: datetime | None = None


def pause(tx: sa.Connection, name: str, reason: str, now: datetime) -> None:
    """Send nothing to a target until it is resumed. One that is paused already stays so, for its own reason."""
    running = targets.c.name == name, targets.c.paused_at.is_(None)
    tx.execute(targets.update().where(*running).values(paused_at=now, paused_reason=reason))


def resume(tx: sa.Connection, name: str) -> None:
    """Send to a target again, at once and all that waits for it, as if it had never failed."""
    fresh = {"paused_at": None, "paused_reason": None, "failing_since": None, "probe_at": None, "probes": 0}
    tx.execute(targets.update().where(targets.c.name == name).values(fresh))
    hurry(tx, name)


def hurry(tx: sa.Connection, name: str) -> None:
    """Make what waits for a target due, the oldest first; what it refused for its own sake waits its time."""
    refused = sa.func.coalesce(deliveries.c.last_status, 0).in_(backoff.REFUSALS)
    waiting = deliveries.c.target == name, deliveries.c.state == PENDING, deliveries.c.claimed_by.is_(None), ~refused
    begun = sa.func.coalesce(deliveries.c.renewed_at, deliveries.c.created_at)
    tx.execute(deliveries.update().where(*waiting, deliveries.c.next_attempt_at > begun).values(next_attempt_at=begun))


def paused(tx: sa.Connection) -> frozenset[str]:
    """The targets that get nothing for the time being."""
    return frozenset(tx.execute(sa.select(targets.c.name).where(targets.c.paused_at.is_not(None))).scalars())


def probe_now(tx: sa.Connection, now: datetime) -> None:
    """Let targets that are failing be probed at once."""
    tx.execute(targets.update().where(targets.c.probe_at > now).values(probe_at=now))


def note_targets(tx: sa.Connection, notes: Sequence[Note]) -> None:
    """Note how targets do; in an order, or two who write could wait for one another."""
    for note in sorted(notes, key=lambda each: each.name):
        values: dict[str, Any] = {}
        if note.success_at is not None:
            values["last_success_at"] = note.success_at
        if note.changed:
            values |= {"failing_since": note.failing_since, "last_error": note.error}
            values |= {"probe_at": note.probe_at, "probes": note.probes}
        if values:
            tx.execute(targets.update().where(targets.c.name == note.name).values(values))
        if note.paused_at is not None:
            pause(tx, note.name, note.error or "", note.paused_at)
        elif note.changed and note.failing_since is None:
            hurry(tx, note.name)
