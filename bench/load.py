"""The load: events like those of PagerDuty's incidents, with bodies of about 1.5 kB, for many targets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa
from pydantic import SecretStr

from daemon import triggers
from daemon.formats import standard
from daemon.model import DetectedBy, Event, Message
from daemon.settings import Target
from daemon.storage import journal, messages, schema, targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.model import Json
    from daemon.storage.database import Database

SECRET = "whsec_YmVuY2gtc2VjcmV0LWJlbmNoLXNlY3JldC0wMQ=="
START = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)
CONCURRENCY = 8


def receivers(urls: Sequence[str]) -> dict[str, Target]:
    """Return one target for each URL, with default settings."""
    return {
        f"target-{number}": Target(f"target-{number}", SecretStr(url), (SecretStr(SECRET),), concurrency=CONCURRENCY)
        for number, url in enumerate(urls)
    }


def events(count: int) -> list[Event]:
    """Return the events of incidents: each type once, then the next incident."""
    kinds = list(triggers.REGISTRY)
    return [_event(number, f"Q1BENCH{number // len(kinds):07}", kinds[number % len(kinds)]) for number in range(count)]


def bodies(count: int) -> list[tuple[str, bytes]]:
    """Return the ids and bodies of the messages that ``fill`` creates."""
    render = standard.body
    return [(f"msg_{each.id}", render(Message(f"msg_{each.id}", "paged", each.type, each))) for each in events(count)]


def fill(database: Database, names: Sequence[str], count: int) -> None:
    """Put ``count`` events into the journal, each with a message that is due at all targets."""

    def write(tx: sa.Connection) -> None:
        now = database.now(tx)
        journal.append(tx, events(count))
        targets.ensure(tx, names)
        rows = tx.execute(sa.select(schema.events).order_by(schema.events.c.seq))
        new = [
            messages.NewMessage(f"msg_{row.id}", row.seq, "paged", row.type, row.incident_id, tuple(names))
            for row in rows
        ]
        messages.enqueue(tx, new, now)

    database.upgrade()
    database.write_now(write)


def append(tx: sa.Connection, database: Database, event: Event, names: Sequence[str]) -> None:
    """Put one event into the journal, with a message ``msg_<event id>`` that is due at these targets."""
    journal.append(tx, [event])
    message = f"msg_{event.id}", journal.head(tx), "other", event.type, event.incident_id, tuple(names)
    messages.enqueue(tx, [messages.NewMessage(*message)], database.now(tx))


def delivered(database: Database) -> int:
    """Return how many deliveries succeeded with exactly one recorded attempt."""
    once = schema.deliveries.c.state == "delivered", schema.deliveries.c.attempts == 1
    joined = sa.select(sa.func.count()).select_from(schema.deliveries.join(schema.attempts, _SAME)).where(*once)
    return int(database.read_now(lambda tx: tx.execute(joined).scalar_one()))


_SAME = schema.attempts.c.delivery_id == schema.deliveries.c.id


def _event(number: int, incident_id: str, kind: str) -> Event:
    at = START + timedelta(seconds=number)
    alice = _reference("user", "PALICE1", "Alice Example")
    note = {"id": f"PNOTE{number}", "content": "Restarted it; watching.", "user": alice, "created_at": _iso(at)}
    return Event(
        id=f"evt_{number:026}",
        type=kind,
        connection="acme",
        incident_id=incident_id,
        occurred_at=at,
        detected_at=at + timedelta(seconds=20),
        detected_by=DetectedBy.LOG_ENTRY,
        payload={
            "agent": alice,
            "incident": _incident(number, incident_id, at),
            "assignees": [alice] if kind == "incident.assigned" else None,
            "note": note if kind == "incident.annotated" else None,
            "log_entry": {"type": "notify_log_entry", "channel": {"type": "web_trigger"}},
        },
    )


def _incident(number: int, incident_id: str, at: datetime) -> Json:
    alice = _reference("user", "PALICE1", "Alice Example")
    return {
        "id": incident_id,
        "type": "incident",
        "summary": f"[#{number}] Disk usage above 90 % on db-{number % 7}.example.internal",
        "self": f"https://api.pagerduty.com/incidents/{incident_id}",
        "html_url": f"https://acme.pagerduty.com/incidents/{incident_id}",
        "incident_number": number,
        "title": f"Disk usage above 90 % on db-{number % 7}.example.internal",
        "created_at": _iso(at),
        "updated_at": _iso(at),
        "status": "triggered",
        "incident_key": f"disk-db-{number % 7}",
        "service": _reference("service", "PSVC001", "Database"),
        "assignments": [{"at": _iso(at), "assignee": alice}],
        "last_status_change_at": _iso(at),
        "last_status_change_by": _reference("service", "PSVC001", "Database"),
        "escalation_policy": _reference("escalation_policy", "PPOLICY", "Database on call"),
        "teams": [_reference("team", "PTEAM01", "Storage")],
        "urgency": "high",
    }


def _reference(kind: str, identity: str, summary: str) -> Json:
    return {"id": identity, "type": f"{kind}_reference", "summary": summary, "html_url": None}


def _iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
