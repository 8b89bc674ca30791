"""What detection answers, and how events get their ids. Nothing here decides whether something happened."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from daemon import ids
from daemon.model import Event, EventType, Snapshot, Status
from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from daemon.model import DetectedBy, Json


@dataclass(frozen=True, slots=True)
class Detection:
    """Events in the order in which to send them, the snapshots that changed, the entry ids that are new."""

    events: tuple[Event, ...]
    snapshots: tuple[Snapshot, ...]
    seen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Occurrence:
    """What is particular to one event: the rest comes from its incident and its surroundings."""

    type: EventType
    at: datetime
    key: str
    agent: Json | None = None
    assignees: Sequence[Json] | None = None
    note: Json | None = None
    changes: Json | None = None
    log_entry: Json | None = None


def event(
    connection: str, snapshot: Snapshot, occurrence: Occurrence, detected_at: datetime, detected_by: DetectedBy
) -> Event:
    """The event itself. Its id depends on what happened alone, so finding it again gives it again.

    An incident is created once: the id of its ``incident.triggered`` has no other key.
    """
    key = "" if occurrence.type is EventType.TRIGGERED else occurrence.key
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
            "log_entry": occurrence.log_entry,
        },
    )


def adopted(incident_id: str, incident: Json, read_at: datetime) -> Snapshot:
    """The snapshot of an incident of which everything so far is history: nothing of it will be sent."""
    created_at = lenient_json.get_time(incident, "created_at") or read_at
    assignments = lenient_json.assignments(incident)
    return Snapshot(
        incident_id=incident_id,
        created=True,
        status=lenient_json.status(incident) or Status.TRIGGERED,
        status_at=lenient_json.get_time(incident, "last_status_change_at") or created_at,
        assigned=tuple((assignee["id"], at or created_at) for assignee, at in assignments),
        incident=incident,
        read_at=read_at,
    )


def unknown(incident_id: str, incident: Json, read_at: datetime, at: datetime) -> Snapshot:
    """The snapshot of an incident of which nothing has been sent, and which shows itself in an entry of ``at``."""
    created_at = lenient_json.get_time(incident, "created_at")
    return Snapshot(
        incident_id=incident_id,
        created=False,
        status=Status.TRIGGERED,
        status_at=at if created_at is None else min(created_at, at),
        assigned=(),
        incident=incident,
        read_at=read_at,
    )


def with_status(snapshot: Snapshot, status: Status, at: datetime) -> Snapshot:
    """The snapshot in its new state, unless the change is older than the one that it knows of."""
    return replace(snapshot, status=status, status_at=at) if at >= snapshot.status_at else snapshot


def with_assigned(snapshot: Snapshot, users: Sequence[str], at: datetime) -> Snapshot:
    """The snapshot that knows that ``users`` were named as assignees at ``at``."""
    told = dict(snapshot.assigned)
    told.update({user: max(at, told.get(user, at)) for user in users})
    return replace(snapshot, assigned=tuple(sorted(told.items())))
