"""What is known about PagerDuty, stored: connections' state, seen ids, snapshots, the journal, trigger watermarks.

Plain functions on an open transaction. Whoever writes to a connection locks its row
first (``lock``), so that what replicas do to one connection happens one after the other.
Messages and deliveries are ``queue``'s business.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

from daemon import detection, errors
from daemon.model import Event, ExpectedEntry, Snapshot, Status
from daemon.storage.rows import chunks, event_of, insert_new, insertion
from daemon.storage.schema import connections, events, instances, quarantine, seen_entries, snapshots, triggers, users

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from daemon.detection import Detection
    from daemon.model import Json, LogEntry, Rejected
    from daemon.settings import Trigger

INSTANCE_TTL = timedelta(seconds=60)
HISTORY = timedelta(days=7)
KNOWN_FOR = HISTORY + timedelta(days=1)
SEEN_FOR = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """A connection's row: how far its log was read, and who is reading it."""

    name: str
    baseline_at: datetime | None
    watermark: datetime | None
    polled_by: str | None
    next_poll_at: datetime
    last_success_at: datetime | None
    failing_since: datetime | None


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to poll a connection now: its state, and the triggers that run with this poll."""

    state: ConnectionState
    due: tuple[str, ...]


# --- instances


def register(tx: sa.Connection, instance: str, hostname: str, version: str, now: datetime) -> None:
    """Note that a daemon lives."""
    row = {"id": instance, "hostname": hostname, "version": version, "started_at": now, "heartbeat_at": now}
    tx.execute(instances.insert().values(row))


def heartbeat(tx: sa.Connection, instance: str, now: datetime) -> bool:
    """Note that it lives still. False: it was taken for dead, and what it had claimed is no longer its own."""
    alive = tx.execute(instances.update().where(instances.c.id == instance).values(heartbeat_at=now))
    return alive.rowcount == 1


def bury(tx: sa.Connection, now: datetime, ended: Callable[[str], bool] = lambda _instance: False) -> list[str]:
    """Remove daemons that gave no sign of life for ``INSTANCE_TTL``, or are known to have ``ended``; answer their ids.

    Their polls are given back here, their deliveries by ``claims.release``.
    """
    known = tx.execute(sa.select(instances.c.id, instances.c.heartbeat_at)).all()
    dead = [row.id for row in known if abs(now - row.heartbeat_at) > INSTANCE_TTL or ended(row.id)]
    gone = list(tx.execute(instances.delete().where(instances.c.id.in_(dead)).returning(instances.c.id)).scalars())
    living = sa.select(instances.c.id)
    abandoned = connections.c.polled_by.is_not(None) & connections.c.polled_by.not_in(living)
    tx.execute(connections.update().where(abandoned).values(polled_by=None))
    return gone


def leave(tx: sa.Connection, instance: str) -> None:
    """Note that a daemon ended in good order."""
    tx.execute(instances.delete().where(instances.c.id == instance))
    tx.execute(connections.update().where(connections.c.polled_by == instance).values(polled_by=None))


# --- connections and triggers


def ensure(tx: sa.Connection, names: Iterable[str], configured: Collection[Trigger], now: datetime) -> None:
    """Make rows for connections and triggers that have none yet.

    A new trigger starts at the journal's head, or at the first event not before its ``start``.
    A row whose trigger is no longer configured stays: should the trigger come back, it resumes.
    What a trigger complained of is forgotten: it may be put right, and is said again if not.
    """
    for name in names:
        row = {"name": name, "next_poll_at": now, "next_sweep_at": now, "next_reconcile_at": now}
        insert_new(tx, connections, [row])
    rows = tx.execute(sa.select(triggers.c.name, triggers.c.connection))
    known = {row.name: row.connection for row in rows}
    for trigger in configured:
        if trigger.name not in known:
            row = {"name": trigger.name, "connection": trigger.connection, "next_poll_at": now}
            insert_new(tx, triggers, [row | {"watermark": _first_watermark(tx, trigger)}])
        elif known[trigger.name] != trigger.connection:
            values = {"connection": trigger.connection, "watermark": _first_watermark(tx, trigger)}
            tx.execute(triggers.update().where(triggers.c.name == trigger.name).values(values))
    note_conditions(tx, {trigger.name: None for trigger in configured})


def _first_watermark(tx: sa.Connection, trigger: Trigger) -> int:
    head = tx.execute(sa.select(sa.func.coalesce(sa.func.max(events.c.seq), 0))).scalar_one()
    if trigger.start is None:
        return int(head)
    mine = events.c.connection == trigger.connection
    first = tx.execute(sa.select(sa.func.min(events.c.seq)).where(mine, events.c.occurred_at >= trigger.start)).scalar()
    return int(head if first is None else first - 1)


def lock(tx: sa.Connection, name: str) -> ConnectionState:
    """The connection's row, held until the transaction ends."""
    columns = (
        connections.c.name,
        connections.c.baseline_at,
        connections.c.watermark,
        connections.c.polled_by,
        connections.c.next_poll_at,
        connections.c.last_success_at,
        connections.c.failing_since,
    )
    row = tx.execute(sa.select(*columns).where(connections.c.name == name).with_for_update()).one_or_none()
    if row is None:
        raise errors.DatabaseError(f'the database has no connection "{name}" (restart the daemon)')
    return ConnectionState(*row)


def begin_poll(
    tx: sa.Connection,
    name: str,
    every: Mapping[str, timedelta],
    interval: timedelta,
    instance: str,
    now: datetime,
) -> Claim | datetime:
    """Claim the poll of a connection and of the triggers (``every``: their intervals) that are due.

    Answers when to ask again if nothing may run now. A time further ahead than can be
    (the clock was set back) counts as due. The claim itself moves the due times.
    """
    state = lock(tx, name)
    if state.polled_by is not None and state.polled_by != instance:
        return now + interval / 2
    if now < state.next_poll_at <= now + interval:
        return state.next_poll_at
    mine = sa.select(triggers.c.name, triggers.c.next_poll_at).where(triggers.c.connection == name)
    due_at: dict[str, datetime] = {row.name: row.next_poll_at for row in tx.execute(mine) if row.name in every}
    due = [trigger for trigger, at in due_at.items() if not now < at <= now + every[trigger]]
    if due_at and not due:
        return min(due_at.values())
    for interval_of_group in {every[trigger] for trigger in due}:
        group = [trigger for trigger in due if every[trigger] == interval_of_group]
        for part in chunks(group):
            moved = {"next_poll_at": now + interval_of_group, "last_run_at": now}
            tx.execute(triggers.update().where(triggers.c.name.in_(part)).values(moved))
    claimed = {"polled_by": instance, "next_poll_at": now + interval, "last_poll_at": now}
    tx.execute(connections.update().where(connections.c.name == name).values(claimed))
    return Claim(state, tuple(due))


def end_poll(tx: sa.Connection, name: str, instance: str, error: str | None, now: datetime) -> datetime | None:
    """Give the claim back and note how it went; answers since when the connection had been failing."""
    state = lock(tx, name)
    values: dict[str, Any] = {"polled_by": None} if state.polled_by == instance else {}
    if error is None:
        values |= {"last_success_at": now, "failing_since": None, "last_error": None}
    else:
        values |= {"failing_since": state.failing_since or now, "last_error": error}
    tx.execute(connections.update().where(connections.c.name == name).values(values))
    return state.failing_since


def begin_chore(tx: sa.Connection, name: str, chore: str, every: timedelta, now: datetime) -> bool:
    """Claim the sweep or reconciliation of a connection (``chore``: sweep | reconcile), if it is due."""
    column = connections.c[f"next_{chore}_at"]
    due = sa.or_(column <= now, column > now + every)
    moved = connections.update().where(connections.c.name == name, due).values({column: now + every})
    return tx.execute(moved).rowcount == 1


# --- reading a connection's log


def known(
    tx: sa.Connection, name: str, entry_ids: Collection[str], incident_ids: Collection[str]
) -> tuple[set[str], dict[str, Snapshot]]:
    """Which of the entries were read before, and the snapshots of the incidents."""
    seen: set[str] = set()
    for part in chunks(entry_ids):
        chosen = seen_entries.c.connection == name, seen_entries.c.entry_id.in_(part)
        seen.update(tx.execute(sa.select(seen_entries.c.entry_id).where(*chosen)).scalars())
    found: dict[str, Snapshot] = {}
    for part in chunks(incident_ids):
        of_part = sa.select(snapshots).where(snapshots.c.connection == name, snapshots.c.incident_id.in_(part))
        found.update((row.incident_id, _snapshot(row)) for row in tx.execute(of_part))
    return seen, found


def open_snapshots(tx: sa.Connection, name: str) -> dict[str, Snapshot]:
    """Every incident that is open as far as is known, or whose creation has not been told."""
    unsettled = sa.or_(snapshots.c.status != Status.RESOLVED, ~snapshots.c.created)
    rows = tx.execute(sa.select(snapshots).where(snapshots.c.connection == name, unsettled))
    return {row.incident_id: _snapshot(row) for row in rows}


def save(tx: sa.Connection, name: str, detection: Detection, rejected: Sequence[Rejected], now: datetime) -> int:
    """Write what was detected: seen ids, snapshots, journal, quarantine. Answers how many events are new.

    An event that the journal has already is dropped by its id.
    """
    insert_new(tx, seen_entries, [{"connection": name, "entry_id": each, "seen_at": now} for each in detection.seen])
    for part in chunks([_snapshot_row(name, each) for each in detection.snapshots]):
        statement = insertion(tx, snapshots)
        changed = {key: statement.excluded[key] for key in part[0] if key not in {"connection", "incident_id"}}
        tx.execute(statement.on_conflict_do_update(index_elements=["connection", "incident_id"], set_=changed), part)
    before = _head(tx)
    insert_new(tx, events, [_event_row(each) for each in detection.events])
    insert_new(tx, quarantine, [_quarantine_row(name, each, now) for each in rejected])
    return int(
        tx.execute(sa.select(sa.func.count()).where(events.c.seq > before, events.c.connection == name)).scalar_one()
    )


def commit_window(
    tx: sa.Connection,
    name: str,
    entries: Sequence[LogEntry],
    rejected: Sequence[Rejected],
    *,
    read_at: datetime,
    now: datetime,
    watermark: datetime | None = None,
) -> int:
    """Take in one completely read window of the log, all or nothing; answers how many events are new.

    ``read_at`` is when reading began; ``watermark`` is how far the log is read with this
    window (None for a re-reading, which moves nothing).
    """
    state = lock(tx, name)
    seen, found = known(tx, name, [entry.id for entry in entries], {entry.incident_id for entry in entries})
    history = max(state.baseline_at or now, (state.watermark or now) - HISTORY)
    result = detection.read(name, found, entries, seen, history=history, read_at=read_at, now=now)
    if watermark is not None:
        move_watermark(tx, name, watermark)
    return save(tx, name, result, rejected, now)


def commit_baseline(
    tx: sa.Connection,
    name: str,
    entries: Sequence[LogEntry],
    incidents: Mapping[str, Json],
    *,
    read_at: datetime,
    baseline_at: datetime,
    now: datetime,
) -> None:
    """Store what a connection's first poll saw; nothing of it is ever sent."""
    if lock(tx, name).baseline_at is None:
        found = detection.baseline(entries, incidents, baseline_at=baseline_at, read_at=read_at)
        save(tx, name, found, (), now)
        move_watermark(tx, name, baseline_at, baseline_at=baseline_at)


def commit_reconciliation(
    tx: sa.Connection,
    name: str,
    incidents: Sequence[tuple[str, Json | None]],
    *,
    settled: datetime,
    read_at: datetime,
    now: datetime,
) -> int:
    """Take in how the incidents are; answers how many events the log had not told."""
    state = lock(tx, name)
    _, found = known(tx, name, (), [incident_id for incident_id, _ in incidents])
    history = max(state.baseline_at or now, (state.watermark or now) - HISTORY)
    result = detection.reconcile(name, found, incidents, history=history, settled=settled, read_at=read_at, now=now)
    return save(tx, name, result, (), now)


def move_watermark(tx: sa.Connection, name: str, watermark: datetime, *, baseline_at: datetime | None = None) -> None:
    """Note that the log was completely read up to ``watermark``; never backwards."""
    values: dict[str, Any] = {"watermark": watermark}
    if baseline_at is not None:
        values["baseline_at"] = baseline_at
    forwards = sa.or_(connections.c.watermark.is_(None), connections.c.watermark < watermark)
    tx.execute(connections.update().where(connections.c.name == name, forwards).values(values))


# --- the journal


def has_news(tx: sa.Connection, name: str, readers: Collection[str]) -> bool:
    """Whether the journal holds an event of the connection that one of these triggers has not read."""
    head = tx.execute(sa.select(sa.func.max(events.c.seq)).where(events.c.connection == name)).scalar()
    if head is None:
        return False
    for part in chunks(readers):
        lowest = sa.select(sa.func.min(triggers.c.watermark)).where(triggers.c.name.in_(part))
        if (tx.execute(lowest).scalar() or 0) < head:
            return True
    return False


def watermarks(tx: sa.Connection, names: Collection[str]) -> dict[str, int]:
    """How far triggers have read the journal; the rows are held until the transaction ends."""
    found: dict[str, int] = {}
    for part in chunks(sorted(names)):
        chosen = sa.select(triggers.c.name, triggers.c.watermark).where(triggers.c.name.in_(part))
        rows = tx.execute(chosen.order_by(triggers.c.name).with_for_update())
        found.update({row.name: row.watermark for row in rows})
    return found


def journal(tx: sa.Connection, name: str, after: int, limit: int) -> list[tuple[int, Event]]:
    """A connection's events behind ``after``, in the journal's order."""
    chosen = sa.select(events).where(events.c.connection == name, events.c.seq > after)
    rows = tx.execute(chosen.order_by(events.c.seq).limit(limit))
    return [(row.seq, event_of(row)) for row in rows]


def advance(tx: sa.Connection, names: Collection[str], watermark: int) -> None:
    """Note that triggers have read the journal up to ``watermark``."""
    for part in chunks(names):
        behind = triggers.c.name.in_(part) & (triggers.c.watermark < watermark)
        tx.execute(triggers.update().where(behind).values(watermark=watermark))


def note_events(tx: sa.Connection, last: Mapping[str, datetime]) -> None:
    """Note when each trigger last had an event to send."""
    changes = [{"trigger": name, "at": at} for name, at in last.items()]
    if changes:
        statement = triggers.update().where(triggers.c.name == sa.bindparam("trigger"))
        tx.execute(statement.values(last_event_at=sa.bindparam("at")), changes)


def note_trigger_error(tx: sa.Connection, name: str, error: str | None) -> None:
    """Say in a trigger's row why it cannot run, or that it can."""
    differs = triggers.c.last_error.is_distinct_from(error)
    tx.execute(triggers.update().where(triggers.c.name == name, differs).values(last_error=error))


def note_conditions(tx: sa.Connection, complaints: Mapping[str, str | None]) -> None:
    """Say in the triggers' rows what was wrong with their conditions, or that nothing was."""
    for part in chunks([name for name, error in complaints.items() if error is None]):
        failed = triggers.c.name.in_(part) & triggers.c.last_error.is_not(None)
        tx.execute(triggers.update().where(failed).values(last_error=None))
    for name, error in complaints.items():
        if error is not None:
            note_trigger_error(tx, name, error)


# --- users


def users_by_email(tx: sa.Connection, name: str) -> dict[str, str]:
    """PagerDuty ids of the e-mail addresses (lower case) that were looked up."""
    rows = tx.execute(sa.select(users.c.email, users.c.user_id).where(users.c.connection == name))
    return {row.email: row.user_id for row in rows}


def email_of(tx: sa.Connection, name: str, user_id: str) -> str | None:
    """The e-mail address of a user who was looked up."""
    found = sa.select(users.c.email).where(users.c.connection == name, users.c.user_id == user_id)
    email: str | None = tx.execute(found.order_by(users.c.looked_up_at.desc()).limit(1)).scalar()
    return email


def save_user(tx: sa.Connection, name: str, email: str, user_id: str, now: datetime) -> None:
    """Remember whose e-mail address it is; an older one of the same user is forgotten."""
    tx.execute(users.delete().where(users.c.connection == name, users.c.user_id == user_id))
    tx.execute(users.delete().where(users.c.connection == name, users.c.email == email.lower()))
    row = {"connection": name, "email": email.lower(), "user_id": user_id, "looked_up_at": now}
    insert_new(tx, users, [row])


# --- retention


def prune(tx: sa.Connection, name: str, retention: timedelta, now: datetime, limit: int) -> int:
    """Remove what is older than it need be kept, ``limit`` rows a table at most; answers how many rows went.

    Ids stay known for longer than any re-reading goes back, counted from the watermark:
    while a connection is behind, nothing of it is forgotten. An event stays while a
    trigger has still to read it.
    """
    state = lock(tx, name)
    read_to = min(now, state.watermark or now)
    old_ids = sa.select(seen_entries.c.entry_id).where(
        seen_entries.c.connection == name, seen_entries.c.seen_at < read_to - SEEN_FOR
    )
    in_old_ids = seen_entries.c.entry_id.in_(old_ids.limit(limit))
    gone = tx.execute(seen_entries.delete().where(seen_entries.c.connection == name, in_old_ids)).rowcount
    old_incidents = sa.select(snapshots.c.incident_id).where(
        snapshots.c.connection == name,
        snapshots.c.status == Status.RESOLVED,
        snapshots.c.status_at < read_to - max(retention, KNOWN_FOR),
    )
    in_old_incidents = snapshots.c.incident_id.in_(old_incidents.limit(limit))
    gone += tx.execute(snapshots.delete().where(snapshots.c.connection == name, in_old_incidents)).rowcount
    old_records = sa.select(quarantine.c.id).where(
        quarantine.c.connection == name, quarantine.c.found_at < now - retention
    )
    gone += tx.execute(quarantine.delete().where(quarantine.c.id.in_(old_records.limit(limit)))).rowcount
    return int(gone)


def prune_journal(
    tx: sa.Connection,
    retention: timedelta,
    configured: Collection[str],
    now: datetime,
    limit: int,
    unsent: sa.SelectBase,
) -> int:
    """Remove old events, ``limit`` at most, but none that a configured trigger has still to read.

    ``unsent`` selects the journal numbers that messages still need.
    """
    read_by_all = sa.select(sa.func.min(triggers.c.watermark)).where(triggers.c.name.in_(list(configured)))
    read_to = tx.execute(read_by_all).scalar()
    old = sa.select(events.c.seq).where(events.c.detected_at < now - retention, events.c.seq.not_in(unsent))
    if read_to is not None:
        old = old.where(events.c.seq <= read_to)
    return int(
        tx.execute(events.delete().where(events.c.seq.in_(old.order_by(events.c.detected_at).limit(limit)))).rowcount
    )


# --- rows


def _head(tx: sa.Connection) -> int:
    return int(tx.execute(sa.select(sa.func.coalesce(sa.func.max(events.c.seq), 0))).scalar_one())


def _text(value: object) -> str:
    return orjson.dumps(value).decode()


def _snapshot_row(name: str, snapshot: Snapshot) -> dict[str, Any]:
    return {
        "connection": name,
        "incident_id": snapshot.incident_id,
        "created": snapshot.created,
        "status": snapshot.status.value,
        "status_at": snapshot.status_at,
        "assigned": _text(snapshot.assigned),
        "incident": _text(snapshot.incident),
        "announced": _text([(each.type, each.since, each.until, each.keys) for each in snapshot.expected]),
        "read_at": snapshot.read_at,
    }


def _instant(value: str) -> datetime:
    return datetime.fromisoformat(value).astimezone(UTC)


def _snapshot(row: Any) -> Snapshot:  # noqa: ANN401 - a row of the snapshots table
    expected = tuple(
        ExpectedEntry(kind, _instant(since), _instant(until), tuple(keys))
        for kind, since, until, keys in orjson.loads(row.announced)
    )
    return Snapshot(
        incident_id=row.incident_id,
        created=row.created,
        status=Status(row.status),
        status_at=row.status_at,
        assigned=tuple((user, _instant(at)) for user, at in orjson.loads(row.assigned)),
        incident=orjson.loads(row.incident),
        read_at=row.read_at,
        expected=expected,
    )


def _event_row(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "connection": event.connection,
        "type": event.type,
        "incident_id": event.incident_id,
        "occurred_at": event.occurred_at,
        "detected_at": event.detected_at,
        "detected_by": event.detected_by.value,
        "payload": _text(event.payload),
    }


def _quarantine_row(name: str, rejected: Rejected, now: datetime) -> dict[str, Any]:
    digest = hashlib.sha256(rejected.raw.encode("utf-8", "surrogatepass")).hexdigest()
    return {"connection": name, "digest": digest, "found_at": now, "reason": rejected.reason, "raw": rejected.raw}
