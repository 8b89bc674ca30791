"""The first transaction: records read from PagerDuty become seen ids, snapshots, events and a watermark.

Plain functions on an open transaction. Each locks the connection's row, lets ``detection`` compute the events,
and stores the result: all or nothing.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from daemon import detection
from daemon.storage import connections, journal, snapshots, unknown_entry_types

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from daemon.detection import Detection
    from daemon.model import Event, Json, LogEntry, Rejected
    from daemon.storage.connections import ConnectionState

HISTORY = timedelta(days=7)  # older entries than this before the watermark never become events


def window(
    tx: sa.Connection,
    name: str,
    entries: Sequence[LogEntry],
    rejected: Sequence[Rejected],
    *,
    read_at: datetime,
    now: datetime,
    watermark: datetime | None = None,
) -> list[Event]:
    """Store one completely read window of the log; return the new events.

    ``read_at`` is when reading began; ``watermark`` is how far the log has been read with this window. None leaves
    the watermark unchanged, for a window that was read before.
    """
    state = connections.lock(tx, name)
    seen = journal.seen(tx, name, [entry.id for entry in entries])
    known = snapshots.load(tx, name, {entry.incident_id for entry in entries if entry.id not in seen})
    result = detection.read(name, known, entries, seen, history=_history(state, now), read_at=read_at, now=now)
    if watermark is not None:
        connections.move_watermark(tx, name, watermark)
    journal.quarantine_records(tx, name, rejected, now)
    return _save(tx, name, result, now)


def baseline(
    tx: sa.Connection,
    name: str,
    entries: Sequence[LogEntry],
    incidents: Mapping[str, Json],
    *,
    read_at: datetime,
    baseline_at: datetime,
    now: datetime,
) -> None:
    """Store the records of a connection's first poll; none of them is ever sent."""
    if connections.lock(tx, name).baseline_at is None:
        result = detection.baseline(entries, incidents, baseline_at=baseline_at, read_at=read_at)
        connections.move_watermark(tx, name, baseline_at, baseline_at=baseline_at)
        _save(tx, name, result, now)


def reconciliation(
    tx: sa.Connection,
    name: str,
    incidents: Sequence[tuple[str, Json | None]],
    *,
    settled: datetime,
    read_at: datetime,
    now: datetime,
) -> list[Event]:
    """Store incidents as they are now (None: deleted); return the events that the log did not show.

    Changes after ``settled`` are left to the log.
    """
    state = connections.lock(tx, name)
    known = snapshots.load(tx, name, [incident_id for incident_id, _ in incidents])
    history = _history(state, now)
    result = detection.reconcile(name, known, incidents, history=history, settled=settled, read_at=read_at, now=now)
    return _save(tx, name, result, now)


def _history(state: ConnectionState, now: datetime) -> datetime:
    """Return the instant before which nothing becomes an event."""
    return max(state.baseline_at or now, (state.watermark or now) - HISTORY)


def _save(tx: sa.Connection, name: str, result: Detection, now: datetime) -> list[Event]:
    """Store what was detected; return the new events."""
    journal.mark_seen(tx, name, result.seen, now)
    snapshots.save(tx, name, result.snapshots)
    unknown_entry_types.add(tx, name, result.unknown_types, now)
    return journal.append(tx, result.events)
