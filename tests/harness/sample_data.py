"""A database with samples of everything to display, and settings full of secrets that must never be shown."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import orjson

from daemon import config
from daemon.storage import schema
from daemon.storage.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    import pytest
    import sqlalchemy as sa

    from daemon.settings import Settings
    from daemon.storage.database import Clock
    from tests.conftest import Postgres

TOKEN = "canary-token-of-the-api"
SECRET = "whsec_Y2FuYXJ5LXNlY3JldC1jYW5hcnktc2VjcmV0LTEyMzQ="
CANARIES = (
    TOKEN,
    SECRET,
    "canary-key",
    "canary-path",
    "canary-query",
    "canary-header",
    "canary-password",
    "canary-service",
    "canary-proxy",
    "canary-login",
    "canary-client",
)
MINUTE = timedelta(minutes=1)
HOSTILE = "Disk \x1b[31mfull\x1b[0m on\ndb1 [bold]"

CONFIGURATION = """
database: {{url: "{url}"}}
api: {{listen: "127.0.0.1:0", token: canary-token-of-the-api}}
connections:
  acme: {{api_key: canary-key-1, api_url: "http://127.0.0.1:1", proxy: "http://u:canary-proxy@127.0.0.1:1"}}
  beta: {{api_key: canary-key-2, api_url: "http://127.0.0.1:1"}}
targets:
  chat: {{url: "https://chat.example.com/canary-path?k=canary-query", secret: {secret},
    proxy: "http://u:canary-proxy@127.0.0.1:1", auth: {{basic: {{username: pagerelay, password: canary-login}}}}}}
  ops: {{url: "https://ops.example.com:8443/in", secret: {secret}, headers: {{X-Key: canary-header}},
    auth: {{oauth2: {{token_url: "https://login.example.com/", client_id: u, client_secret: canary-client}}}}}}
triggers:
  new: {{on: incident.triggered, connection: acme, to: [ops, chat]}}
  done: {{on: incident.resolved, connection: beta, to: [chat]}}
"""


def settings(folder: Path, url: str) -> Settings:
    """Return the configuration after writing and loading its file."""
    path = folder / "config.yaml"
    path.write_text(CONFIGURATION.format(url=url.replace("+psycopg", ""), secret=SECRET))
    return config.load(path, os.environ)


def shared_database(request: pytest.FixtureRequest, folder: Path, clock: Clock) -> Iterator[Database]:
    """Yield a filled database for tests that only read: it is created once for many of them."""
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        database = Database(server.new(), clock=clock)
    else:
        template: Path = request.getfixturevalue("sqlite_template")
        database = Database(f"sqlite:///{shutil.copy(template, folder / 'kept.db')}", clock=clock)
    database.write_now(fill, clock())
    yield database
    database.close()


def insert(tx: sa.Connection, table: sa.Table, *rows: dict[str, Any]) -> None:
    """Insert rows."""
    for row in rows:
        tx.execute(table.insert().values(row))


def event(number: int, now: datetime, **other: Any) -> dict[str, Any]:
    """Return the row of an event of the journal."""
    payload = {"agent": {"summary": "Alice"}, "incident": {"title": HOSTILE}, "assignees": None, "note": None}
    row = {
        "seq": number,
        "id": f"evt_{number}",
        "connection": "acme",
        "type": "incident.triggered",
        "incident_id": f"P{number}",
        "occurred_at": now,
        "detected_at": now,
        "detected_by": "log_entry",
        "payload": orjson.dumps(payload).decode(),
    }
    return row | other


def message(number: int, now: datetime, trigger: str = "new") -> dict[str, Any]:
    """Return the row of the message of an event."""
    return {"id": f"msg_{number}_{trigger}", "event_seq": number, "trigger": trigger, "created_at": now}


def delivery(number: int, now: datetime, **other: Any) -> dict[str, Any]:
    """Return the row of a pending delivery of a message of the trigger ``new``."""
    row = {
        "id": number,
        "message_id": f"msg_{number}_new",
        "target": "ops",
        "incident_id": f"P{number}",
        "state": "pending",
        "attempts": 0,
        "created_at": now,
        "next_attempt_at": now,
    }
    return row | other


def action(number: int, now: datetime, **other: Any) -> dict[str, Any]:
    """Return the row of a queued action on an incident."""
    row = {
        "id": f"act_{number}",
        "operation": "ResolveIncident",
        "connection": "acme",
        "parameters": f'{{"incidentId": "P{number}", "userId": "PALICE"}}',
        "secret": "[]",
        "subject": f"P{number}",
        "notify": "[]",
        "digest": f"digest-{number}",
        "state": "queued",
        "tries": 0,
        "created_at": now,
        "next_try_at": now,
    }
    return row | other


def connection(name: str, now: datetime, **other: Any) -> dict[str, Any]:
    """Return the row of a healthy connection."""
    row = {
        "name": name,
        "baseline_at": now - 60 * MINUTE,
        "watermark": now - MINUTE / 4,
        "next_poll_at": now + MINUTE / 4,
        "last_poll_at": now - MINUTE / 4,
        "last_success_at": now - MINUTE / 5,
        "next_sweep_at": now + MINUTE,
        "next_reconcile_at": now + MINUTE,
    }
    return row | other


def fill(tx: sa.Connection, now: datetime) -> None:
    """Insert samples: the connection acme and the target chat are healthy, beta and ops fail."""
    lost = {"failing_since": now - 10 * MINUTE, "last_error": "401 2006 Authentication failed"}
    insert(tx, schema.connections, connection("acme", now), connection("beta", now, **lost))
    alive = {"hostname": "relay1", "version": "0.1.0", "started_at": now - 180 * MINUTE}
    insert(tx, schema.instances, {"id": "a", "heartbeat_at": now - MINUTE / 6} | alive)
    insert(tx, schema.instances, {"id": "b", "heartbeat_at": now - 5 * MINUTE} | alive)
    for name, of in (("new", "acme"), ("done", "beta")):
        row = {"name": name, "connection": of, "watermark": 2, "next_poll_at": now, "last_event_at": now - MINUTE}
        insert(tx, schema.triggers, row)
    failing = {"failing_since": now - 3 * MINUTE, "last_error": "answered 503"}
    insert(
        tx,
        schema.targets,
        {"name": "ops", "last_failed": 3} | failing,
        {"name": "chat", "last_success_at": now - MINUTE / 6},
    )
    insert(tx, schema.events, *(event(number, now - (6 - number) * MINUTE) for number in range(1, 5)))
    insert(tx, schema.events, event(5, now - MINUTE, connection="beta", type="incident.resolved"))
    insert(tx, schema.messages, *(message(number, now) for number in range(1, 5)), message(5, now, "done"))
    ended = {"state": "delivered", "finished_at": now - MINUTE, "attempts": 1, "last_status": 204}
    given_up = {
        "state": "dead",
        "finished_at": now - MINUTE,
        "attempts": 9,
        "last_error": "answered 500",
        "last_status": 500,
    }
    insert(
        tx,
        schema.deliveries,
        delivery(1, now, target="chat") | ended,
        delivery(2, now) | given_up,
        delivery(3, now - 3 * MINUTE, attempts=2, last_error="answered 503", last_status=503),
        delivery(4, now, claimed_by="a"),
        delivery(5, now, message_id="msg_5_done", target="chat") | ended,
    )
    tried = {"delivery_id": 3, "duration_ms": 1200}
    insert(tx, schema.attempts, {"at": now - 2 * MINUTE, "error": "no response within 15 s"} | tried)
    insert(tx, schema.attempts, {"at": now - MINUTE, "status": 503, "error": "answered 503", "answer": HOSTILE} | tried)
    insert(tx, schema.permits, *({"connection": "acme", "at": now + MINUTE / 3, "priority": 1} for _ in range(4)))
    insert(
        tx, schema.quarantine, {"connection": "beta", "digest": "d", "found_at": now, "reason": "no id", "raw": "{}"}
    )
    unknown = {"connection": "acme", "type": "teleport_log_entry", "entries": 3}
    insert(tx, schema.unknown_entry_types, unknown | {"first_seen_at": now - MINUTE, "last_seen_at": now})
    insert(tx, schema.actions, *_actions(now))
    state = {"created": True, "status_at": now, "assigned": "[]", "incident": "{}", "announced": "[]", "read_at": now}
    for incident, status in (("P1", "triggered"), ("P2", "acknowledged"), ("P3", "resolved")):
        insert(tx, schema.snapshots, {"connection": "acme", "incident_id": incident, "status": status} | state)


def _actions(now: datetime) -> tuple[dict[str, Any], ...]:
    """Return actions that succeeded, failed, run, are retried, and wait with a secret."""
    refused = {"code": "not_found", "message": "PagerDuty has no incident P2", "status": 404, "pagerduty_code": 2100}
    busy = {"code": "temporary", "message": "api answered 503", "status": 503}
    key = {"service_key": "canary-service", "description": HOSTILE}
    done = {"outcome": "done", "result": '{"id": "P1"}', "finished_at": now - 70 * MINUTE}
    return (
        action(1, now - 90 * MINUTE, state="succeeded", tries=1, notify='["ops"]') | done,
        action(2, now - 4 * MINUTE, state="failed", tries=2, error=_text(refused), finished_at=now - 3 * MINUTE),
        action(3, now - 2 * MINUTE, state="running", tries=1, claimed_by="a", started_at=now - MINUTE),
        action(4, now - MINUTE, tries=3, error=_text(busy), started_at=now - MINUTE, next_try_at=now + MINUTE / 6),
        action(5, now, connection="beta", operation="CreateIncident", subject=None)
        | {"parameters": _text(key), "secret": '["service_key"]', "idempotency_key": "key-5"},
    )


def _text(value: object) -> str:
    return orjson.dumps(value).decode()
