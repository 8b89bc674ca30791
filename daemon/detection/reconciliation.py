"""From the incidents themselves to events: what the log has not told, and perhaps never will.

Only differences older than ``settled`` count; younger ones are the log's business.
The incident shows its present state alone: what came in between and left no trace in it
cannot be found here. Of the types of events only those that a state or an assignment shows are
found: triggered, assigned, acknowledged, resolved, and reopened where a resolution was told before.
An acknowledgement that ended changes the snapshot and sends nothing: an escalation ends one, too.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, assert_never

from daemon.detection.events import Detection, Occurrence, adopted, event, unknown, with_assigned, with_status
from daemon.detection.log import with_announced
from daemon.model import Announced, DetectedBy, EventType, Snapshot, Status
from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from daemon.model import Event, Json

TOLERANCE = timedelta(seconds=2)


def reconcile(
    connection: str,
    snapshots: Mapping[str, Snapshot],
    incidents: Iterable[tuple[str, Json | None]],
    *,
    history: datetime,
    settled: datetime,
    read_at: datetime,
    now: datetime,
) -> Detection:
    """What ``incidents`` (id and resource; None: PagerDuty has it no more) show that was never told.

    Events of one incident come in the order of their times. Each one leaves a mark in
    ``Snapshot.announced``, so that its log entry makes no second event should it come.
    """
    events: list[Event] = []
    changed: list[Snapshot] = []
    for incident_id, incident in sorted(incidents, key=_age):
        before = snapshots.get(incident_id)
        after, occurrences = _compare(incident_id, before, incident, history, settled, read_at)
        if after is not None and after != before:
            changed.append(after)
            events += [event(connection, after, each, now, DetectedBy.RECONCILIATION) for each in occurrences]
    return Detection(tuple(events), tuple(changed))


def _age(item: tuple[str, Json | None]) -> str:
    return lenient_json.get_text(item[1], "created_at") or ""


def _compare(
    incident_id: str,
    before: Snapshot | None,
    incident: Json | None,
    history: datetime,
    settled: datetime,
    read_at: datetime,
) -> tuple[Snapshot | None, list[Occurrence]]:
    if before is not None and before.read_at > read_at:
        return None, []
    if incident is None:
        return before and replace(before, created=True, status=Status.RESOLVED, status_at=read_at), []
    created_at = lenient_json.get_time(incident, "created_at") or read_at
    if created_at < history and (before is None or not before.created):
        return adopted(incident_id, incident, read_at), []
    if before is None and created_at > settled:
        return None, []
    snapshot = before or unknown(incident_id, incident, read_at, created_at)
    snapshot = replace(snapshot, incident=incident, read_at=read_at)
    found: list[Occurrence] = []
    if not snapshot.created and created_at <= settled:
        found.append(Occurrence(EventType.TRIGGERED, created_at, ""))
        snapshot = replace(snapshot, created=True)
    snapshot = _assignments(snapshot, incident, settled, found)
    snapshot = _status(snapshot, incident, settled, found)
    return snapshot, sorted(found, key=lambda each: each.at)


def _assignments(snapshot: Snapshot, incident: Json, settled: datetime, found: list[Occurrence]) -> Snapshot:
    """Assignees whom no event has named yet, one event for each time of assignment."""
    if lenient_json.status(incident) is Status.RESOLVED:
        return snapshot
    missed: dict[datetime, list[Json]] = {}
    for assignee, at in lenient_json.assignments(incident):
        since = at or snapshot.read_at
        if since <= settled and not _was_told(snapshot, assignee["id"], at):
            missed.setdefault(since, []).append(assignee)
    for at, assignees in sorted(missed.items()):
        users = tuple(assignee["id"] for assignee in assignees)
        key = "\x1f".join((at.isoformat(), *sorted(users)))
        found.append(Occurrence(EventType.ASSIGNED, at, key, assignees=assignees))
        mark = Announced(EventType.ASSIGNED, at - TOLERANCE, at + TOLERANCE, users)
        snapshot = with_announced(with_assigned(snapshot, users, at), mark)
    return snapshot


def _was_told(snapshot: Snapshot, user: str, at: datetime | None) -> bool:
    """Whether an event named the user, and nobody else since, before this assignment."""
    told = dict(snapshot.assigned)
    if user not in told:
        return False
    moved_away = any(when > told[user] for other, when in told.items() if other != user)
    return at is None or not moved_away or at <= told[user] + TOLERANCE


def _status(snapshot: Snapshot, incident: Json, settled: datetime, found: list[Occurrence]) -> Snapshot:
    real = lenient_json.status(incident)
    if real is None or real is snapshot.status:
        return snapshot
    changed_at = lenient_json.get_time(incident, "last_status_change_at")
    at: datetime | None
    match real:
        case Status.TRIGGERED:
            return _back(snapshot, incident, changed_at, settled, found)
        case Status.ACKNOWLEDGED:
            newest = max(lenient_json.get_objects(incident, "acknowledgements"), key=_acknowledged_at, default={})
            at = lenient_json.get_time(newest, "at") or changed_at
            agent = lenient_json.get_object(newest, "acknowledger") or None
            return _changed(snapshot, EventType.ACKNOWLEDGED, real, at, settled, agent, found)
        case Status.RESOLVED:
            at = lenient_json.get_time(incident, "resolved_at") or changed_at
            agent = lenient_json.get_object(incident, "last_status_change_by") or None
            return _changed(snapshot, EventType.RESOLVED, real, at, settled, agent, found)
        case _:
            assert_never(real)


def _back(
    snapshot: Snapshot, incident: Json, changed_at: datetime | None, settled: datetime, found: list[Occurrence]
) -> Snapshot:
    """Back in triggered: told if a resolution was told before, unless the listing lags behind that."""
    when = changed_at or snapshot.read_at
    if snapshot.status is not Status.RESOLVED or not snapshot.created:
        return with_status(snapshot, Status.TRIGGERED, when) if when <= settled else snapshot
    if changed_at is None or changed_at <= snapshot.status_at:
        return snapshot
    agent = lenient_json.get_object(incident, "last_status_change_by") or None
    return _changed(snapshot, EventType.REOPENED, Status.TRIGGERED, changed_at, settled, agent, found)


def _acknowledged_at(acknowledgement: Json) -> str:
    at = lenient_json.get_time(acknowledgement, "at")
    return at.isoformat() if at else ""


def _changed(
    snapshot: Snapshot,
    kind: EventType,
    status: Status,
    at: datetime | None,
    settled: datetime,
    agent: Json | None,
    found: list[Occurrence],
) -> Snapshot:
    """The change as an event, unless it is young, or older than what was told already."""
    when = at or snapshot.read_at
    if (at or settled) > settled:
        return snapshot
    if when >= snapshot.status_at:
        found.append(Occurrence(kind, when, when.isoformat(), agent=agent))
        since = (at or snapshot.status_at) - TOLERANCE
        snapshot = with_announced(snapshot, Announced(kind, since, when + TOLERANCE))
    return replace(snapshot, status=status, status_at=max(when, snapshot.status_at))
