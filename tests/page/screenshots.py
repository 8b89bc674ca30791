"""Pictures of the page for the documentation: ``python -m tests.page.screenshots docs/screenshots``."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from daemon import config, pagerduty
from daemon.control import Services
from daemon.pagerduty.permits import Permits
from daemon.simulator import Account, Simulator
from daemon.storage import schema, sql
from daemon.storage.database import Database, system_clock
from daemon.storage.history import ALL, SLOT
from daemon.storage.schema import LATENCIES
from tests.harness import sample_data
from tests.page import browsers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import sqlalchemy as sa
    from playwright.async_api import Browser

    from daemon.settings import Settings

CONFIGURATION = """
database: {{url: "{url}"}}
api: {{listen: "127.0.0.1:0", token: {token}}}
connections:
  acme: {{api_key: {key}, api_url: "{simulator}", events_url: "{simulator}"}}
targets:
  chat: {{url: "https://chat.example.com/hooks/oncall", secret: {secret}}}
  statuspage: {{url: "https://status.example.com/in", secret: {secret}}}
  tickets: {{url: "https://tickets.example.com/pagerduty", secret: {secret}, format: pagerduty-v3}}
triggers:
  new-incidents: {{on: incident.triggered, to: [chat, tickets, statuspage]}}
  changes: {{on: [incident.acknowledged, incident.resolved, incident.annotated], to: [chat, tickets]}}
"""
TITLES = (
    "Disk almost full on db-1",
    "Checkout latency above 2 s",
    "Certificate expires in 3 days",
    "Replica lag on orders",
    "Queue of invoices grows",
    "Error rate of login above 5 %",
)
SYMPTOMS = ("Pods evicted", "Kubelet not ready", "Disk pressure", "API latency above 1 s")
PEOPLE = ("Alice Archer", "Bob Brandt", "Carla Chen")
STORY = ("triggered", "acknowledged", "annotated", "resolved")
MINUTE = timedelta(minutes=1)
INCIDENTS = 12
LAST = 2 * len(STORY) * INCIDENTS + 1  # the last delivery to the target that is down


@dataclass(frozen=True)
class Scene:
    """What the database shows. ``down`` is whether the target tickets fails, ``waiting`` how much waits for it.

    ``storm`` is how many incidents began within the last minutes.
    """

    down: bool = False
    waiting: int = 0
    storm: int = 0


def fill(tx: sa.Connection, scene: Scene, now: datetime) -> None:
    """Insert a day's work."""
    chance = random.Random(4)
    since = now - 23 * MINUTE
    sample_data.insert(tx, schema.connections, sample_data.connection("acme", now))
    alive = {"hostname": "relay1", "version": "0.1.0", "started_at": now - 900 * MINUTE, "heartbeat_at": now}
    sample_data.insert(tx, schema.instances, {"id": "a"} | alive)
    for name in ("new-incidents", "changes"):
        row = {
            "name": name,
            "connection": "acme",
            "watermark": 10**6,
            "next_poll_at": now,
            "last_event_at": now - MINUTE,
        }
        sample_data.insert(tx, schema.triggers, row | {"last_run_at": now - MINUTE / 4})
    reason = {
        "failing_since": since,
        "last_error": "answered 503",
        "probe_at": now + MINUTE / 2,
        "probes": 14,
        "last_failed": LAST,
    }
    for name in ("chat", "statuspage", "tickets"):
        down = scene.down and name == "tickets"
        state = reason | {"last_success_at": since} if down else {"last_success_at": now - MINUTE / 5}
        sample_data.insert(tx, schema.targets, {"name": name} | state)
    calls = 26 if scene.storm else 4
    sample_data.insert(tx, schema.permits, *({"connection": "acme", "at": now, "priority": 1} for _ in range(calls)))
    _events(tx, scene, now, since)
    _storm(tx, scene, now)
    _history(tx, scene, now, chance)
    user = {"incidentId": "Q1", "userId": "PALICE"}
    done = {"state": "succeeded", "outcome": "done", "result": '{"id": "Q1"}', "tries": 1}
    action = sample_data.action(1, now - 30 * MINUTE, operation="AcknowledgeIncident", subject=f"Q{INCIDENTS}")
    sample_data.insert(
        tx,
        schema.actions,
        action | done | {"parameters": orjson.dumps(user).decode(), "finished_at": now - 29 * MINUTE},
    )


def _events(tx: sa.Connection, scene: Scene, now: datetime, since: datetime) -> None:
    seq = 0
    for incident in range(1, INCIDENTS + 1):
        title, begun = TITLES[incident % len(TITLES)], now - (INCIDENTS - incident) * 14 * MINUTE - 40 * MINUTE
        for step, name in enumerate(STORY):
            seq += 1
            at = begun + step * 9 * MINUTE
            resource = {
                "id": f"Q{incident}",
                "title": title,
                "incident_number": 1200 + incident,
                "urgency": "high",
                "status": ("triggered", "acknowledged", "acknowledged", "resolved")[step],
                "service": {"summary": "Orders"},
                "html_url": f"https://acme.pagerduty.com/incidents/Q{incident}",
            }
            note = {"content": "The sessions table has grown, deleting old ones."} if name == "annotated" else None
            payload = {"agent": {"summary": PEOPLE[(incident + step) % 3]}, "incident": resource, "note": note}
            row = {"type": f"incident.{name}", "incident_id": f"Q{incident}", "payload": orjson.dumps(payload).decode()}
            sample_data.insert(tx, schema.events, sample_data.event(seq, at, **row))
            trigger = "new-incidents" if name == "triggered" else "changes"
            message = sample_data.message(seq, at, trigger)
            sample_data.insert(tx, schema.messages, message)
            for number, target in enumerate(("chat", "tickets")):
                pending = scene.down and target == "tickets" and at > since
                _delivery(tx, 2 * seq + number, message["id"], target, f"Q{incident}", at, pending=pending)
    new = {"event_seq": 0, "trigger": "new-incidents", "type": "incident.triggered", "created_at": now - MINUTE}
    numbers = range(scene.waiting)
    messages = [{"id": f"msg_{number}"} | new for number in numbers]
    rows = [
        sample_data.delivery(
            10_000 + number, now - MINUTE, message_id=f"msg_{number}", target="tickets", incident_id=f"S{number}"
        )
        for number in numbers
    ]
    sql.insert_new(tx, schema.messages, messages)
    sql.insert_new(tx, schema.deliveries, rows)


def _storm(tx: sa.Connection, scene: Scene, now: datetime) -> None:
    """Insert incidents that began one after the other within the last minutes and are all open."""
    for number in range(scene.storm):
        at, name = now - (scene.storm - number) * 2 * MINUTE / 60, f"S{number}"
        resource = {
            "id": name,
            "title": f"{SYMPTOMS[number % len(SYMPTOMS)]} on node-{number % 61:02}",
            "incident_number": 2000 + number,
            "urgency": "high",
            "status": "triggered",
            "service": {"summary": "Kubernetes"},
            "created_at": at.isoformat(),
            "assignments": [{"assignee": {"id": "PALICE", "summary": PEOPLE[number % 3]}}],
        }
        payload = {"agent": {"summary": "Prometheus"}, "incident": resource, "note": None}
        row = {"type": "incident.triggered", "incident_id": name, "payload": orjson.dumps(payload).decode()}
        sample_data.insert(tx, schema.events, sample_data.event(5000 + number, at, **row))
        snapshot = {"connection": "acme", "incident_id": name, "created": True, "status": "triggered", "status_at": at}
        more = {"assigned": "[]", "incident": orjson.dumps(resource).decode(), "announced": "[]", "read_at": at}
        sample_data.insert(tx, schema.snapshots, snapshot | more)


def _delivery(
    tx: sa.Connection, number: int, message: str, target: str, incident: str, at: datetime, *, pending: bool
) -> None:
    row = sample_data.delivery(number, at, message_id=message, target=target, incident_id=incident)
    tried = {"delivery_id": number, "duration_ms": 84 + number % 40}
    if pending:
        state = {"attempts": 6, "last_status": 503, "last_error": "answered 503"}
        answer = {"status": 503, "error": "answered 503", "answer": "<h1>Down for maintenance until 04:00 UTC</h1>"}
        attempts = [tried | answer | {"at": at + MINUTE * (step * step / 8)} for step in range(6)]
    else:
        state = {"state": "delivered", "finished_at": at + MINUTE / 60, "attempts": 1, "last_status": 204}
        attempts = [tried | {"status": 204, "at": at + MINUTE / 60}]
    sample_data.insert(tx, schema.deliveries, row | state)
    sample_data.insert(tx, schema.attempts, *attempts)


def _history(tx: sa.Connection, scene: Scene, now: datetime, chance: random.Random) -> None:
    first = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=23)
    slots = [first + SLOT * number for number in range(int((now - first) / SLOT) + 1)]
    for at in slots:
        storm = 30 if scene.storm and at > now - 80 * MINUTE else 1
        busy = (6 + 5 * ((at.hour - 3) % 24 > 8) + chance.randint(0, 6)) * storm
        down = scene.down and at > now - 25 * MINUTE
        slow = 12 if storm > 1 else 1
        for target, part in (("chat", 1.0), ("statuspage", 0.2), ("tickets", 1.0)):
            attempts = int(busy * part)
            failures = attempts if down and target == "tickets" else min(int(chance.random() < 0.03), attempts)
            within = {f"within_{bound}": int(attempts * min(1, bound / 260 / slow)) for bound in LATENCIES}
            waiting = int(scene.waiting * (1 - (now - at) / (30 * MINUTE))) if down and target == "tickets" else 0
            counts = {"attempts": attempts, "failures": failures, "pending": max(waiting, 0), "dead": 0} | within
            for name in (ALL, target):
                _add(tx, name, at, counts)
        row = {"connection": "acme", "at": at, "events": busy, "calls": min(10 + chance.randint(0, 6) + storm, 150)}
        sample_data.insert(tx, schema.connection_history, row)


def _add(tx: sa.Connection, target: str, at: datetime, counts: dict[str, int]) -> None:
    row = {"target": target, "at": at} | counts
    sql.upsert(tx, schema.target_history, [row], lambda old, new: old + new)


async def main(folder: Path) -> None:
    """Take the pictures."""
    phone: dict[str, Any] = {"viewport": browsers.PHONE, "device_scale_factor": 2}
    down = Scene(down=True, waiting=180)
    form = "/actions/new?operation=AddNoteToIncident&incidentId={incident}&userId={user}&note=Deleting+old+sessions."
    async with browsers.browsing() as browser:
        await _take(browser, folder, Scene(), [("quiet", "/", {})])
        pictures = [
            ("target-down", "/", {}),
            ("target-down-dark", "/", {"color_scheme": "dark"}),
            ("target-down-phone", "/", phone),
            ("target", "/targets/tickets", {}),
            ("delivery", f"/deliveries/{LAST}", {}),
            ("incident", f"/incidents/Q{INCIDENTS}", {}),
            ("action", form, {}),
        ]
        await _take(browser, folder, down, pictures)
        await _take(browser, folder, Scene(down=True, waiting=20_000, storm=400), [("storm", "/", {})])


async def _take(
    browser: Browser, folder: Path, scene: Scene, pictures: Sequence[tuple[str, str, dict[str, Any]]]
) -> None:
    account = Account(clock=system_clock, seed=4)
    incidents = [account.trigger(title, service=account.directory.services[0]) for title in TITLES[:3]]
    names = {"incident": incidents[0].id, "user": account.directory.users[0].id}
    simulator = Simulator([account], limit=10**9)
    with tempfile.TemporaryDirectory() as place:
        database = Database(f"sqlite:///{place}/page.db")
        database.upgrade()
        database.write_now(fill, scene, system_clock())
        async with simulator.serving() as url:
            settings = _settings(Path(place), str(database.url), url, account.api_key)
            acme = settings.connections["acme"]
            client = pagerduty.Client(acme, Permits(database, "acme", acme.limits, "a"))
            async with browsers.served(database, settings, Services({"acme": client})) as address:
                for name, path, options in pictures:
                    database.write_now(_is_alive)
                    async with (
                        browsers.profile(browser, timezone_id="UTC", **options) as profile,
                        browsers.window(profile, address) as window,
                    ):
                        await window.open(path.format(**names))
                        await window.page.wait_for_load_state("load")
                        await window.page.screenshot(path=folder / f"{name}.png")
            await client.close()
        database.close()


def _is_alive(tx: sa.Connection) -> None:
    """Make everything recent that a running daemon would have done a moment ago."""
    now = system_clock()
    tx.execute(schema.instances.update().values(heartbeat_at=now))
    tx.execute(schema.connections.update().values(last_poll_at=now, last_success_at=now, watermark=now))
    tx.execute(schema.targets.update().where(schema.targets.c.probes > 0).values(probe_at=now + MINUTE / 2))
    healthy = schema.targets.c.failing_since.is_(None)
    tx.execute(schema.targets.update().where(healthy).values(last_success_at=now - MINUTE / 10))
    tx.execute(schema.permits.update().values(at=now))


def _settings(folder: Path, database: str, simulator: str, key: str) -> Settings:
    path = folder / "config.yaml"
    names = {
        "url": database,
        "simulator": simulator,
        "key": key,
        "token": sample_data.TOKEN,
        "secret": sample_data.SECRET,
    }
    path.write_text(CONFIGURATION.format(**names))
    return config.load(path, os.environ)


if __name__ == "__main__":
    destination = Path(sys.argv[1])
    destination.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(destination))
