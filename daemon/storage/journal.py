"""The journal of events, how far triggers have read it, and what was read from PagerDuty's log to write it.

Whoever appends holds the connection's row (``connections.lock``), so that each connection's events get their
numbers in commit order. That is why a trigger's watermark can be a number.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

from daemon.model import DetectedBy, Event
from daemon.storage import sql
from daemon.storage.schema import events, quarantine, seen_entries, triggers

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from daemon.model import Json, Rejected


# --- events


def head(tx: sa.Connection) -> int:
    """Return the number of the last event, 0 in an empty journal."""
    return int(tx.execute(sa.select(sa.func.coalesce(sa.func.max(events.c.seq), 0))).scalar_one())


def append(tx: sa.Connection, new: Collection[Event]) -> list[Event]:
    """Add events, except those whose id the journal has already; return the others."""
    ids = sql.insert_new_returning(tx, events, [_event_row(each) for each in new], events.c.id)
    return [each for each in new if each.id in ids]


def read(tx: sa.Connection, connection: str, after: int, limit: int) -> list[tuple[int, Event]]:
    """Return a connection's events after the number ``after``, oldest first, with their numbers."""
    chosen = sa.select(events).where(events.c.connection == connection, events.c.seq > after)
    rows = tx.execute(chosen.order_by(events.c.seq).limit(limit))
    return [(row.seq, event_of(row)) for row in rows]


def count_expired(tx: sa.Connection, before: datetime) -> int:
    """Return how many events were detected before then."""
    counting = sa.select(sa.func.count()).select_from(events).where(events.c.detected_at < before)
    return int(tx.execute(counting).scalar_one())


def prune(tx: sa.Connection, readers: Collection[str], before: datetime, limit: int, needed: sa.SelectBase) -> int:
    """Remove events detected before then, at most ``limit``; return how many.

    Events stay that one of the triggers in ``readers`` has not read yet, or whose number ``needed`` selects.
    """
    read_to = tx.execute(_lowest_watermark(tx, readers)).scalar()
    old = sa.select(events.c.seq).where(events.c.detected_at < before, events.c.seq.not_in(needed))
    if read_to is not None:
        old = old.where(events.c.seq <= read_to)
    chosen = events.c.seq.in_(old.order_by(events.c.detected_at).limit(limit))
    return int(tx.execute(events.delete().where(chosen)).rowcount)


def _event_row(event: Event) -> Json:
    return {
        "id": event.id,
        "connection": event.connection,
        "type": event.type,
        "incident_id": event.incident_id,
        "occurred_at": event.occurred_at,
        "detected_at": event.detected_at,
        "detected_by": event.detected_by.value,
        "payload": sql.to_json(event.payload),
    }


def event_of(row: Any) -> Event:  # noqa: ANN401 - a row with the columns of the events table
    """Return the event of a row."""
    return Event(
        id=row.id,
        type=row.type,
        connection=row.connection,
        incident_id=row.incident_id,
        occurred_at=row.occurred_at,
        detected_at=row.detected_at,
        detected_by=DetectedBy(row.detected_by),
        payload=orjson.loads(row.payload),
    )


# --- watermarks of triggers


def has_unread(tx: sa.Connection, connection: str, readers: Collection[str]) -> bool:
    """Return whether one of these triggers has not read all events of the connection."""
    last = sa.select(sa.func.max(events.c.seq)).where(events.c.connection == connection).scalar_subquery()
    unread = _lowest_watermark(tx, readers).scalar_subquery() < last
    return bool(tx.execute(sa.select(unread)).scalar())


def lock_watermarks(tx: sa.Connection, names: Collection[str]) -> dict[str, int]:
    """Return how far triggers have read the journal; their rows stay locked until the transaction ends."""
    chosen = sa.select(triggers.c.name, triggers.c.watermark).where(sql.among(tx, triggers.c.name, names))
    return {row.name: row.watermark for row in tx.execute(chosen.order_by(triggers.c.name).with_for_update())}


def advance(tx: sa.Connection, names: Collection[str], watermark: int) -> None:
    """Record that triggers have read the journal up to ``watermark``; a watermark never moves back."""
    behind = sql.among(tx, triggers.c.name, names) & (triggers.c.watermark < watermark)
    tx.execute(triggers.update().where(behind).values(watermark=watermark))


def _lowest_watermark(tx: sa.Connection, names: Collection[str]) -> sa.Select[tuple[int]]:
    return sa.select(sa.func.min(triggers.c.watermark)).where(sql.among(tx, triggers.c.name, names))


# --- ids of log entries


def seen(tx: sa.Connection, connection: str, entry_ids: Collection[str]) -> set[str]:
    """Return the ids of those log entries that were read before."""
    chosen = seen_entries.c.connection == connection, sql.among(tx, seen_entries.c.entry_id, entry_ids)
    return set(tx.execute(sa.select(seen_entries.c.entry_id).where(*chosen)).scalars())


def mark_seen(tx: sa.Connection, connection: str, entry_ids: Collection[str], now: datetime) -> None:
    """Remember the ids of log entries."""
    rows = [{"connection": connection, "entry_id": each, "seen_at": now} for each in entry_ids]
    sql.insert_new(tx, seen_entries, rows)


def prune_seen(tx: sa.Connection, connection: str, before: datetime, limit: int) -> int:
    """Forget ids of log entries read before then, at most ``limit``; return how many."""
    mine = seen_entries.c.connection == connection
    old = sa.select(seen_entries.c.entry_id).where(mine, seen_entries.c.seen_at < before).limit(limit)
    return int(tx.execute(seen_entries.delete().where(mine, seen_entries.c.entry_id.in_(old))).rowcount)


# --- quarantine


def quarantine_records(tx: sa.Connection, connection: str, rejected: Collection[Rejected], now: datetime) -> None:
    """Keep records that could not be understood, each text once."""
    sql.insert_new(tx, quarantine, [_quarantine_row(connection, each, now) for each in rejected])


def prune_quarantine(tx: sa.Connection, connection: str, before: datetime, limit: int) -> int:
    """Remove quarantined records found before then, at most ``limit``; return how many."""
    old = sa.select(quarantine.c.id).where(quarantine.c.connection == connection, quarantine.c.found_at < before)
    return int(tx.execute(quarantine.delete().where(quarantine.c.id.in_(old.limit(limit)))).rowcount)


def _quarantine_row(connection: str, rejected: Rejected, now: datetime) -> Json:
    digest = hashlib.sha256(rejected.raw.encode("utf-8", "surrogatepass")).hexdigest()
    return {"connection": connection, "digest": digest, "found_at": now, "reason": rejected.reason, "raw": rejected.raw}
