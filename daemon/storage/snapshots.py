"""Snapshots of incidents, as rows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

from daemon.model import ExpectedEntry, IncidentStatus, Snapshot
from daemon.storage import sql
from daemon.storage.schema import snapshots

if TYPE_CHECKING:
    from collections.abc import Collection

    from daemon.model import Json


def load(tx: sa.Connection, connection: str, incident_ids: Collection[str]) -> dict[str, Snapshot]:
    """Return the known snapshots of these incidents by incident id."""
    chosen = snapshots.c.connection == connection, sql.among(tx, snapshots.c.incident_id, incident_ids)
    return _by_incident(tx, *chosen)


def load_open(tx: sa.Connection, connection: str) -> dict[str, Snapshot]:
    """Return the snapshots of incidents that are open as far as known, or whose creation was not reported yet."""
    unsettled = sa.or_(snapshots.c.status != IncidentStatus.RESOLVED, ~snapshots.c.created)
    return _by_incident(tx, snapshots.c.connection == connection, unsettled)


def save(tx: sa.Connection, connection: str, changed: Collection[Snapshot]) -> None:
    """Insert or replace snapshots."""
    sql.upsert(tx, snapshots, [_row(connection, each) for each in changed])


def prune(tx: sa.Connection, connection: str, before: datetime, limit: int) -> int:
    """Remove incidents that were resolved before then, at most ``limit``; return how many."""
    mine = snapshots.c.connection == connection
    old = sa.select(snapshots.c.incident_id).where(
        mine, snapshots.c.status == IncidentStatus.RESOLVED, snapshots.c.status_at < before
    )
    chosen = mine, snapshots.c.incident_id.in_(old.limit(limit))
    return int(tx.execute(snapshots.delete().where(*chosen)).rowcount)


def _by_incident(tx: sa.Connection, *conditions: sa.ColumnElement[bool]) -> dict[str, Snapshot]:
    return {row.incident_id: _snapshot(row) for row in tx.execute(sa.select(snapshots).where(*conditions)).all()}


def _row(connection: str, snapshot: Snapshot) -> Json:
    return {
        "connection": connection,
        "incident_id": snapshot.incident_id,
        "created": snapshot.created,
        "status": snapshot.status.value,
        "status_at": snapshot.status_at,
        "assigned": sql.to_json(snapshot.assigned),
        "incident": sql.to_json(snapshot.incident),
        "announced": sql.to_json([(each.type, each.since, each.until, each.keys) for each in snapshot.expected]),
        "read_at": snapshot.read_at,
    }


def _snapshot(row: Any) -> Snapshot:  # noqa: ANN401 - a row of the snapshots table
    expected = tuple(
        ExpectedEntry(kind, _instant(since), _instant(until), tuple(keys))
        for kind, since, until, keys in orjson.loads(row.announced)
    )
    return Snapshot(
        incident_id=row.incident_id,
        created=row.created,
        status=IncidentStatus(row.status),
        status_at=row.status_at,
        assigned=tuple((user, _instant(at)) for user, at in orjson.loads(row.assigned)),
        incident=orjson.loads(row.incident),
        read_at=row.read_at,
        expected=expected,
    )


def _instant(value: str) -> datetime:
    return datetime.fromisoformat(value).astimezone(UTC)
