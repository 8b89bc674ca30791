"""A journal with messages, and a delivery loop on it, for the tests of delivery."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from pydantic import SecretStr

from daemon.delivery.loop import DeliveryLoop
from daemon.model import DeliveryState, DetectedBy, Event, Order, TargetChange, TargetState
from daemon.runtime.presence import UNCONTESTED
from daemon.settings import Retry, Target
from daemon.storage import claims, due, journal, messages, results, schema, targets
from tests.conftest import START
from tests.harness.eventually import eventually
from tests.harness.receivers import OK, SECRET, Receiver, Reply, Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from daemon.runtime.presence import Presence
    from daemon.runtime.tracing import Tracing
    from daemon.storage.database import Database

REQUESTS = {"ops": due.ClaimRequest(Order.PER_INCIDENT, 10, 10)}
WANTED = {"ops": due.ClaimRequest(Order.PER_INCIDENT, 10)}
QUICK = Retry(first=timedelta(milliseconds=40), factor=1.5, max=timedelta(milliseconds=200), horizon=timedelta(hours=1))


def target(name: str, url: str, **more: Any) -> Target:
    """Return a target with a quick back-off."""
    more.setdefault("retry", QUICK)
    more.setdefault("timeout", timedelta(seconds=5))
    return Target(name, SecretStr(url), (SecretStr(SECRET),), **more)


def event(number: int, incident: str, kind: str = "incident.annotated") -> Event:
    """Return one event; its note contains its number."""
    note = {"id": None, "content": str(number), "user": {"id": "PA"}, "created_at": "2026-11-23T10:00:00Z"}
    return Event(
        id=f"evt_{number}",
        type=kind,
        connection="acme",
        incident_id=incident,
        occurred_at=START,
        detected_at=START,
        detected_by=DetectedBy.LOG_ENTRY,
        payload={"agent": None, "incident": {"id": incident}, "assignees": None, "note": note, "log_entry": None},
    )


def fill(database: Database, incidents: Sequence[str], names: Sequence[str], first: int = 0) -> None:
    """Put one event for each of ``incidents`` into the journal, with a message for all targets of these ``names``."""

    def write(tx: sa.Connection) -> None:
        now = database.now(tx)
        journal.append(tx, [event(first + number, incident) for number, incident in enumerate(incidents)])
        rows = tx.execute(sa.select(schema.events).order_by(schema.events.c.seq))
        targets.ensure(tx, names)
        new = [
            messages.NewMessage(f"msg_{row.id}", row.seq, "paged", row.type, row.incident_id, tuple(names))
            for row in rows
        ]
        messages.enqueue(tx, new, now)

    database.write_now(write)


@asynccontextmanager
async def delivering(
    database: Database,
    *receivers: Target,
    instance: str = "one",
    presence: Presence = UNCONTESTED,
    tracing: Tracing | None = None,
) -> AsyncIterator[DeliveryLoop]:
    """Run a delivery loop inside the context; let its attempts finish at the end."""
    by_name = {each.name: each for each in receivers}
    deliveries = DeliveryLoop(database, by_name, instance, presence=presence, tracing=tracing)
    running = asyncio.create_task(deliveries.run())
    try:
        yield deliveries
    finally:
        await deliveries.stop(timedelta(seconds=5))
        await running


def rows(database: Database) -> list[Any]:
    """Return all deliveries in order."""
    return list(
        database.read_now(lambda tx: tx.execute(sa.select(schema.deliveries).order_by(schema.deliveries.c.id)).all())
    )


def attempts(database: Database) -> list[Any]:
    """Return all attempts in order."""
    return list(
        database.read_now(lambda tx: tx.execute(sa.select(schema.attempts).order_by(schema.attempts.c.id)).all())
    )


def states(database: Database) -> Counter[str]:
    """Return how many deliveries are in each state."""
    return Counter(row.state for row in rows(database))


def standing(database: Database, name: str = "ops") -> Any:
    """Return a target's row."""
    query = sa.select(schema.targets).where(schema.targets.c.name == name)
    return database.read_now(lambda tx: tx.execute(query).one())


async def seen(database: Database, column: str, *, there: bool = True) -> None:
    """Wait until a column of the target's row has, or does not have, a value."""
    await eventually(lambda: getattr(standing(database), column) is not None, there)


def probe_now(database: Database) -> None:
    """Let the failing target be probed without a pause."""
    due = schema.targets.update().where(schema.targets.c.failing_since.is_not(None))
    database.write_now(lambda tx: tx.execute(due.values(probe_at=database.now(tx))) and None)


class Gate:
    """A receiver that can be down, and knows how many requests it had at the same time meanwhile."""

    def __init__(self, status: int = 500) -> None:
        self.down = True
        self.status = status
        self.receiver = Receiver(self._behave)

    def _behave(self, _request: Request) -> Reply:
        return Reply(self.status, delay=0.02) if self.down else OK


def replayed(database: Database, *ids: int) -> None:
    """Mark deliveries as replayed."""
    values = {"state": "pending", "replay": 1, "attempts": 0, "finished_at": None}

    def take_up(tx: sa.Connection) -> None:
        chosen = schema.deliveries.c.id.in_(ids)
        tx.execute(schema.deliveries.update().where(chosen).values(values | {"renewed_at": database.now(tx)}))

    database.write_now(take_up)


def claim(database: Database, instance: str = "one") -> claims.TargetClaim:
    """Return the deliveries that a daemon can now claim for ops."""
    return database.write_now(lambda tx: claims.claim(tx, REQUESTS, instance, database.now(tx)))["ops"]


def ids(claimed: claims.TargetClaim) -> list[int]:
    """Return the ids of a claim's deliveries, in order."""
    return [each.id for run in claimed.runs for each in run.deliveries]


def changed(tx: sa.Connection, *statements: sa.Update) -> None:
    """Change rows by hand."""
    for each in statements:
        tx.execute(each)


def failed(database: Database, claimed: claims.TargetClaim, until_then: datetime) -> None:
    """Fail the first claimed delivery, and release the rest."""
    first, *rest = (each for run in claimed.runs for each in run.deliveries)
    result = results.Result(first, DeliveryState.PENDING, START, 5, 500, "answered 500", None, until_then)
    database.write_now(results.record, [result], "one")
    database.write_now(claims.give_back, [each.id for each in rest], "one", until_then)


def failing(database: Database, probe_at: datetime) -> None:
    """Note that ops is failing."""
    circuit = TargetState(failing_since=START, last_error="answered 500", probe_at=probe_at)
    database.write_now(targets.record_states, {"ops": TargetChange(circuit=circuit)}, probe_at)


async def seen_attempt(database: Database) -> None:
    """Wait until an attempt is recorded."""
    await eventually(lambda: attempts(database))


def failing_for_long(database: Database, count: int) -> None:
    """Let ops have been failing for longer than the horizon of so many messages for it."""
    fill(database, [f"P{number}" for number in range(count)], ["ops"])
    old = database.read_now(database.now) - timedelta(hours=2)
    late = schema.deliveries.update().values(created_at=old, next_attempt_at=old)
    database.write_now(changed, late, schema.targets.update().values(failing_since=old, probe_at=old, probes=50))
