"""The result of detection and constructors of events and snapshots. Nothing here decides whether anything happened."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from daemon import ids
from daemon.model import Event, IncidentStatus, Snapshot
from daemon.triggers import lenient_json, triggered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from daemon.model import DetectedBy, Json


@dataclass(frozen=True, slots=True)
class Detection:
    """Events in sending order, the changed snapshots, and the ids of new entries.

    ``unknown_types`` are the types of new entries that pagerelay does not know, with the number of entries.
    """

    events: tuple[Event, ...]
    snapshots: tuple[Snapshot, ...]
    seen: tuple[str, ...] = ()
    unknown_types: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """The specific part of one event; the rest comes from its incident and its connection.

    ``type`` is the event type's name. ``key`` makes the event's id unique within its incident and type.
    """

    type: str
    at: datetime
    key: str
    agent: Json | None = None
    assignees: Sequence[Json] | None = None
    note: Json | None = None
    changes: Json | None = None
    details: Json | str | None = None
    log_entry: Json | None = None


def event(
    connection: str, snapshot: Snapshot, occurrence: Occurrence, detected_at: datetime, detected_by: DetectedBy
) -> Event:
    """Return the event. Its id depends only on what happened, so detecting it again yields the same event.

    An incident is created once: the id of its ``incident.triggered`` has no other key.
    """
    key = "" if occurrence.type == triggered.TYPE.name else occurrence.key
    return Event(
        id=ids.event_id(connection, snapshot.incident_id, occurrence.type, key),
        type=occurrence.type,
        connection=connection,
        incident_id=snapshot.incident_id,
        occurred_at=occurrence.at,
        detected_at=detected_at,
        detected_by=detected_by,
        payload={
            "agent": occurrence.agent,
            "incident": snapshot.incident,
            "assignees": None if occurrence.assignees is None else list(occurrence.assignees),
            "note": occurrence.note,
            "changes": occurrence.changes,
            "details": occurrence.details,
            "log_entry": occurrence.log_entry,
        },
    )


def existing(incident_id: str, incident: Json, read_at: datetime) -> Snapshot:
    """Return the snapshot of an incident whose past predates the history limit: none of it will be sent."""
    created_at = lenient_json.get_time(incident, "created_at") or read_at
    assignments = lenient_json.assignments(incident)
    return Snapshot(
        incident_id=incident_id,
        created=True,
        status=lenient_json.status(incident) or IncidentStatus.TRIGGERED,
        status_at=lenient_json.get_time(incident, "last_status_change_at") or created_at,
        assigned=tuple((assignee["id"], at or created_at) for assignee, at in assignments),
        incident=incident,
        read_at=read_at,
    )


def first_seen(incident_id: str, incident: Json, read_at: datetime, at: datetime) -> Snapshot:
    """Return the snapshot of an incident that no event has reported yet, first seen in an entry of ``at``."""
    created_at = lenient_json.get_time(incident, "created_at")
    return Snapshot(
        incident_id=incident_id,
        created=False,
        status=IncidentStatus.TRIGGERED,
        status_at=at if created_at is None else min(created_at, at),
        assigned=(),
        incident=incident,
        read_at=read_at,
    )


def with_status(snapshot: Snapshot, status: IncidentStatus, at: datetime) -> Snapshot:
    """Return the snapshot with its new status, unless it has a newer one."""
    return replace(snapshot, status=status, status_at=at) if at >= snapshot.status_at else snapshot


def with_assigned(snapshot: Snapshot, users: Sequence[str], at: datetime) -> Snapshot:
    """Return the snapshot after an event that named ``users`` as assignees at ``at``."""
    assigned = dict(snapshot.assigned)
    assigned.update({user: max(at, assigned.get(user, at)) for user in users})
    return replace(snapshot, assigned=tuple(sorted(assigned.items())))
