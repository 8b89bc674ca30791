"""A large database: deliveries in every state for 500 targets, with their events, attempts and counts.

One incident in a hundred goes to all targets, the others to five each. Every tenth target has been failing for days.
"""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import func, select

from bench import load
from daemon import config
from daemon.storage import history, schema, sql
from daemon.storage.column_types import EPOCH, MICROSECOND

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    import sqlalchemy as sa

    from daemon.model import Json
    from daemon.settings import Settings
    from daemon.storage.database import Database

TARGETS = [f"target-{number:03}" for number in range(500)]
TEAMS = [f"team-{number:02}" for number in range(100)]  # triggers with five targets each
EACH = len(TARGETS) // len(TEAMS)
TOKEN = "bench-token-of-the-page"
EVENTS = 10  # of an incident
ROUND = len(TEAMS) + 1  # incidents: the first goes to all targets, each other one to one team
PER_ROUND = EVENTS * 2 * len(TARGETS)  # deliveries
PERIOD = timedelta(days=7)
FAILING_FOR = timedelta(days=4)
FAILING_EVERY = 10  # targets
AT_ONCE = 20_000
MINUTE = timedelta(minutes=1)
HISTORY = 47 * 12  # slots of five minutes


@dataclass(frozen=True, slots=True)
class Content:
    """The rows of each table, for this number of incidents up to ``now``."""

    incidents: int
    now: datetime

    @classmethod
    def of(cls, deliveries: int, now: datetime) -> Content:
        """Return the content with about this number of deliveries."""
        return cls(max(deliveries // PER_ROUND, 1) * ROUND, now)

    def clock(self) -> datetime:
        """Return the time up to which there is content, at which it is looked at."""
        return self.now

    @property
    def deliveries(self) -> int:
        """Return the number of deliveries."""
        return self.incidents // ROUND * PER_ROUND

    @property
    def slots(self) -> range:
        """Return the slots of history, of which a small database has few."""
        return range(HISTORY if self.incidents > HISTORY else 2)

    @property
    def events(self) -> int:
        """Return the number of events."""
        return self.incidents * EVENTS

    def at(self, seq: int) -> datetime:
        """Return when an event was detected."""
        return self.now - PERIOD + PERIOD / self.events * seq

    def event_rows(self) -> Iterator[Json]:
        """Return the journal."""
        samples = load.events(EVENTS)
        payloads = [orjson.dumps(sample.payload).decode() for sample in samples]
        for seq in range(1, self.events + 1):
            number = (seq - 1) % EVENTS
            yield {
                "seq": seq,
                "id": f"evt_{seq:026}",
                "connection": "acme",
                "type": samples[number].type,
                "incident_id": incident_of(seq),
                "occurred_at": self.at(seq) - MINUTE / 3,
                "detected_at": self.at(seq),
                "detected_by": "log_entry",
                "payload": payloads[number],
            }

    def message_rows(self) -> Iterator[Json]:
        """Return a message of each event."""
        for seq in range(1, self.events + 1):
            trigger = "everyone" if (team := _team_of(seq)) is None else TEAMS[team]
            yield {"id": f"msg_{seq}", "event_seq": seq, "trigger": trigger, "created_at": self.at(seq)}

    def snapshot_rows(self) -> Iterator[Json]:
        """Return the state of each incident; the last hundred are open."""
        for number in range(self.incidents):
            is_open = self.incidents - number <= len(TEAMS)
            yield {
                "connection": "acme",
                "incident_id": incident_of(number * EVENTS + 1),
                "created": True,
                "status": "triggered" if is_open else "resolved",
                "status_at": self.now,
                "assigned": "[]",
                "incident": "{}",
                "announced": "[]",
                "read_at": self.now,
            }

    def delivery_rows(self) -> Iterator[Json]:
        """Return the deliveries of each message, in the journal's order."""
        ids = itertools.count(1)
        for seq in range(1, self.events + 1):
            team, at = _team_of(seq), self.at(seq)
            for target in range(len(TARGETS)) if team is None else range(team * EACH, (team + 1) * EACH):
                yield _delivery(next(ids), seq, target, at, self.now)


def triggers() -> dict[str, list[str]]:
    """Return the targets of each trigger."""
    return {"everyone": TARGETS} | {name: _of_team(number) for number, name in enumerate(TEAMS)}


def settings(folder: Path, url: str, to: Mapping[str, Collection[str]]) -> Settings:
    """Return the configuration with the targets of each trigger, after writing and loading its file."""
    targets = sorted(set(itertools.chain.from_iterable(to.values())))
    document = {
        "database": {"url": url.replace("+psycopg", "")},
        "api": {"listen": "127.0.0.1:0", "token": TOKEN},
        "connections": {"acme": {"api_key": "bench-key", "api_url": "http://127.0.0.1:9"}},
        "targets": {name: {"url": f"https://{name}.example.com/in", "secret": load.SECRET} for name in targets},
        "triggers": {
            name: {"on": ["incident.triggered", "incident.resolved"], "connection": "acme", "to": list(names)}
            for name, names in to.items()
        },
    }
    path = folder / "config.yaml"
    path.write_text(json.dumps(document))
    return config.load(path, os.environ)


def fill(database: Database, content: Content) -> None:
    """Create the schema and insert everything."""
    database.upgrade()
    insert(database, schema.events, content.event_rows())
    insert(database, schema.messages, content.message_rows())
    insert(database, schema.snapshots, content.snapshot_rows())
    deliveries = content.delivery_rows()
    while part := list(itertools.islice(deliveries, AT_ONCE)):
        insert(database, schema.deliveries, part)
        insert(database, schema.attempts, itertools.chain.from_iterable(map(_attempts, part)))
    for table, rows in _states(content):
        insert(database, table, rows)
    database.write_now(finish)
    while database.write_now(history.fold, content.now):
        pass  # as the daemon's chore leaves it


def finish(tx: sa.Connection) -> None:
    """Note each failing target's last attempt. Bring PostgreSQL's sequences and statistics up to date.

    Autovacuum does the latter within minutes.
    """
    deliveries = schema.deliveries.c
    waits = deliveries.target == schema.targets.c.name, deliveries.state == "pending", deliveries.attempts > 0
    last = select(func.max(deliveries.id)).where(*waits).scalar_subquery()
    tx.execute(schema.targets.update().values(last_failed=last))
    if not sql.is_postgres(tx):
        return
    for table in (schema.events, schema.deliveries):
        (key,) = table.primary_key
        newest = tx.execute(select(func.max(key))).scalar_one()
        tx.execute(select(func.setval(func.pg_get_serial_sequence(table.name, key.name), newest)))
    tx.exec_driver_sql("ANALYZE")


def insert(database: Database, table: sa.Table, rows: Iterable[Json]) -> None:
    """Insert rows in parts, each in a transaction."""
    remaining = iter(rows)
    while part := list(itertools.islice(remaining, AT_ONCE)):
        database.write_now(_insert_rows, table, part)


def _insert_rows(tx: sa.Connection, table: sa.Table, rows: list[Json]) -> None:
    """Insert rows by the driver's own quickest way: through SQLAlchemy, millions of them take minutes."""
    names = ", ".join(rows[0])
    if sql.is_postgres(tx):
        tx.begin()
        cursor: Any = tx.connection.cursor()
        with cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(tuple(row.values()))
        return
    marks = ", ".join("?" for _ in rows[0])
    values = [tuple(map(_as_stored, row.values())) for row in rows]
    tx.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", values)


def _as_stored(value: object) -> object:
    return (value - EPOCH) // MICROSECOND if isinstance(value, datetime) else value


def incident_of(seq: int) -> str:
    """Return the incident of an event; that of the first event goes to all targets."""
    return f"Q1BENCH{(seq - 1) // EVENTS:07}"


def _team_of(seq: int) -> int | None:
    """Return the team that an event is sent to; None if it goes to everyone."""
    place = (seq - 1) // EVENTS % ROUND
    return place - 1 if place else None


def _of_team(number: int) -> list[str]:
    return TARGETS[number * EACH : (number + 1) * EACH]


def is_failing(target: int) -> bool:
    """Return whether a target has been failing for days."""
    return target % FAILING_EVERY == FAILING_EVERY - 1


def _delivery(number: int, seq: int, target: int, at: datetime, now: datetime) -> Json:
    """Return a delivery: of failing targets the older ones are dead and the newer ones wait; elsewhere 1 % is dead."""
    failing = is_failing(target) and at > now - FAILING_FOR
    waits = failing and at > now - FAILING_FOR * 0.75
    state = "pending" if waits else "dead" if failing or number % 100 == 0 else "delivered"
    attempts = {"pending": 3, "dead": 5, "delivered": 1 + (number % 20 == 1)}[state]
    return {
        "id": number,
        "message_id": f"msg_{seq}",
        "target": TARGETS[target],
        "incident_id": incident_of(seq),
        "state": state,
        "attempts": attempts,
        "created_at": at,
        "next_attempt_at": now if waits else at,
        "finished_at": None if waits else at + attempts * MINUTE,
        "last_status": 200 if state == "delivered" else 503,
        "last_error": None if state == "delivered" else "answered 503 Service Unavailable",
    }


def _attempts(delivery: Json) -> Iterator[Json]:
    """Return the attempts of a delivery; only the last one of a delivered one succeeded."""
    for number in range(delivery["attempts"]):
        succeeded = delivery["state"] == "delivered" and number == delivery["attempts"] - 1
        yield {
            "delivery_id": delivery["id"],
            "at": delivery["created_at"] + number * MINUTE,
            "duration_ms": 20 + delivery["id"] % 300,
            "status": 200 if succeeded else 503,
            "error": None if succeeded else "answered 503 Service Unavailable",
            "answer": None if succeeded else "<html>the upstream server is busy</html>",
        }


def _states(content: Content) -> Iterator[tuple[sa.Table, Iterable[Json]]]:
    """Return what the daemon stores besides: states, counts, actions, calls."""
    now, due = content.now, content.now + MINUTE
    soon = {"next_poll_at": due, "next_sweep_at": due, "next_reconcile_at": due}
    polled = {"last_poll_at": now, "last_success_at": now, "watermark": now - MINUTE / 4, "baseline_at": now - PERIOD}
    yield schema.connections, [{"name": "acme"} | soon | polled]
    alive = {"id": "a", "hostname": "relay1", "version": "0.1.0"}
    yield schema.instances, [alive | {"started_at": now - PERIOD, "heartbeat_at": now}]
    read = {"connection": "acme", "watermark": content.events, "next_poll_at": due, "last_event_at": now}
    yield schema.triggers, [{"name": name} | read for name in ("everyone", *TEAMS)]
    yield schema.targets, [_target_row(number, now) for number in range(len(TARGETS))]
    yield schema.permits, [{"connection": "acme", "at": now - MINUTE / 2, "priority": 1} for _ in range(20)]
    yield schema.actions, [_action(number, now) for number in range(2000)]
    yield schema.target_history, _target_history(content)
    slots = [now.replace(minute=0, second=0, microsecond=0) - 5 * MINUTE * number for number in content.slots]
    yield schema.connection_history, [{"connection": "acme", "at": at, "events": 30, "calls": 20} for at in slots]


def _target_row(number: int, now: datetime) -> Json:
    failing = is_failing(number)
    return {
        "name": TARGETS[number],
        "failing_since": now - FAILING_FOR if failing else None,
        "last_success_at": now - FAILING_FOR if failing else now - MINUTE,
        "last_error": "answered 503 Service Unavailable" if failing else None,
        "probe_at": now + MINUTE if failing else None,
        "probes": 5 if failing else 0,
    }


def _action(number: int, now: datetime) -> Json:
    incident = incident_of(number * EVENTS + 1)
    parameters = {"incidentId": incident, "userId": "PALICE1"}
    at = now - (2000 - number) * MINUTE
    return {
        "id": f"act_{number:026}",
        "operation": "AcknowledgeIncident",
        "connection": "acme",
        "parameters": orjson.dumps(parameters).decode(),
        "secret": "[]",
        "subject": incident,
        "notify": "[]",
        "digest": str(number),
        "state": "succeeded",
        "tries": 1,
        "created_at": at,
        "next_try_at": at,
        "outcome": "done",
        "finished_at": at,
    }


def _target_history(content: Content) -> Iterator[Json]:
    """Return two days of counts in slots of five minutes, for each target and for all together."""
    last = content.now.replace(minute=0, second=0, microsecond=0)
    names = [*enumerate(TARGETS), (0, "")]
    for slot, (number, name) in itertools.product(content.slots, names):
        counts = {"attempts": 10, "failures": 10 if is_failing(number) else 0}
        within = {f"within_{bound}": min(bound // 25, 10) for bound in schema.LATENCIES}
        yield {"target": name, "at": last - 5 * MINUTE * slot} | counts | within
