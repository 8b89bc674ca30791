"""A journal with messages, and a delivery loop on it, for the tests of delivery."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from pydantic import SecretStr

from daemon.delivery import Deliveries
from daemon.model import DetectedBy, Event, Order
from daemon.settings import Retry, Target
from daemon.storage import due, journal, messages, schema, targets
from tests.conftest import START
from tests.harness.receivers import SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from daemon.storage.database import Database

WANTED = {"ops": due.Wanted(Order.PER_INCIDENT, 10)}
QUICK = Retry(first=timedelta(milliseconds=40), factor=1.5, max=timedelta(milliseconds=200), horizon=timedelta(hours=1))


def target(name: str, url: str, **more: Any) -> Target:
    """A target with a quick back-off."""
    more.setdefault("retry", QUICK)
    more.setdefault("timeout", timedelta(seconds=5))
    return Target(name, SecretStr(url), (SecretStr(SECRET),), **more)


def event(number: int, incident: str, kind: str = "incident.annotated") -> Event:
    """One event; its note says its number."""
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
        journal.append(tx, "acme", [event(first + number, incident) for number, incident in enumerate(incidents)])
        rows = tx.execute(sa.select(schema.events))
        targets.ensure(tx, names)
        new = [
            messages.NewMessage(f"msg_{row.id}", row.seq, "paged", row.type, row.incident_id, tuple(names))
            for row in rows
        ]
        messages.enqueue(tx, new, now)

    database.write_now(write)


@asynccontextmanager
async def delivering(database: Database, *receivers: Target, instance: str = "one") -> AsyncIterator[Deliveries]:
    """A delivery loop; ends with its attempts finished."""
    deliveries = Deliveries(database, {each.name: each for each in receivers}, instance)
    running = asyncio.create_task(deliveries.run())
    try:
        yield deliveries
    finally:
        await deliveries.stop(timedelta(seconds=5))
        await running


def rows(database: Database) -> list[Any]:
    """All deliveries, in their order."""
    return list(
        database.read_now(lambda tx: tx.execute(sa.select(schema.deliveries).order_by(schema.deliveries.c.id)).all())
    )


def attempts(database: Database) -> list[Any]:
    """All attempts, in their order."""
    return list(
        database.read_now(lambda tx: tx.execute(sa.select(schema.attempts).order_by(schema.attempts.c.id)).all())
    )


def states(database: Database) -> Counter[str]:
    """Return how many deliveries are in each state."""
    return Counter(row.state for row in rows(database))
