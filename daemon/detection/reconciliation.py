"""Events from the incidents themselves: changes that the log has not reported, and perhaps never will.

Only differences older than ``settled`` count; newer ones are left to the log.
An incident shows only its current state: intermediate changes that left no trace in it cannot be
detected here. Detected event types are those that the incident itself shows: triggered, assigned,
acknowledged, resolved, reopened after a resolution that was sent, and those of ``comparison``, which
no log entry reports. The end of an acknowledgement changes the snapshot but is not an event, since an
escalation ends one, too.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, assert_never

from daemon.detection import comparison
from daemon.detection.events import Detection, Occurrence, event, existing, first_seen, with_assigned, with_status
from daemon.detection.expected import expect
from daemon.model import DetectedBy, ExpectedEntry, IncidentStatus, Snapshot
from daemon.triggers import acknowledged, assigned, lenient_json, reopened, resolved, triggered

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from daemon.model import Event, Json
    from daemon.triggers.event_type import EventType

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
    """Return the unreported changes in ``incidents`` (id and resource; None: PagerDuty no longer has it).

    Events of one incident are in order of time. Each leaves an expected entry in its snapshot, so
    that its log entry does not cause a second event if it appears.
    """
    events: list[Event] = []
    changed: list[Snapshot] = []
    for incident_id, incident in sorted(incidents, key=_created_at):
        before = snapshots.get(incident_id)
        after, occurrences = _compare(incident_id, before, incident, history, settled, read_at)
        if after is not None and after != before:
            changed.append(after)
            events += [event(connection, after, each, now, DetectedBy.RECONCILIATION) for each in occurrences]
    return Detection(tuple(events), tuple(changed))


def _created_at(item: tuple[str, Json | None]) -> str:
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
        return before and replace(before, created=True, status=IncidentStatus.RESOLVED, status_at=read_at), []
    created_at = lenient_json.get_time(incident, "created_at") or read_at
    if created_at < history and (before is None or not before.created):
        return existing(incident_id, incident, read_at), []
    if before is None and created_at > settled:
        return None, []
    snapshot = before or first_seen(incident_id, incident, read_at, created_at)
    incident = comparison.complete(incident, snapshot.incident)
    occurrences = comparison.compare(snapshot, incident, read_at)
    outdated = comparison.is_outdated(snapshot, incident)
    snapshot = replace(snapshot, incident=snapshot.incident if outdated else incident, read_at=read_at)
    if not snapshot.created and created_at <= settled:
        occurrences.append(Occurrence(triggered.TYPE.name, created_at, ""))
        snapshot = replace(snapshot, created=True)
    snapshot = _compare_assignments(snapshot, incident, settled, occurrences)
    snapshot = _compare_status(snapshot, incident, settled, occurrences)
    return snapshot, sorted(occurrences, key=lambda each: each.at)


def _compare_assignments(
    snapshot: Snapshot, incident: Json, settled: datetime, occurrences: list[Occurrence]
) -> Snapshot:
    """Add one event for each time of assignment whose assignees no event has named yet."""
    if lenient_json.status(incident) is IncidentStatus.RESOLVED:
        return snapshot
    missed: dict[datetime, list[Json]] = {}
    for assignee, at in lenient_json.assignments(incident):
        since = at or snapshot.read_at
        if since <= settled and not _was_sent(snapshot, assignee["id"], at):
            missed.setdefault(since, []).append(assignee)
    for at, assignees in sorted(missed.items()):
        users = tuple(assignee["id"] for assignee in assignees)
        key = "\x1f".join((at.isoformat(), *sorted(users)))
        occurrences.append(Occurrence(assigned.TYPE.name, at, key, assignees=assignees))
        entry = ExpectedEntry(assigned.TYPE.name, at - TOLERANCE, at + TOLERANCE, users)
        snapshot = expect(with_assigned(snapshot, users, at), entry)
    return snapshot


def _was_sent(snapshot: Snapshot, user: str, at: datetime | None) -> bool:
    """Return whether an event named the user, and nobody else since, before this assignment."""
    sent = dict(snapshot.assigned)
    if user not in sent:
        return False
    moved_away = any(when > sent[user] for other, when in sent.items() if other != user)
    return at is None or not moved_away or at <= sent[user] + TOLERANCE


def _compare_status(snapshot: Snapshot, incident: Json, settled: datetime, occurrences: list[Occurrence]) -> Snapshot:
    status = lenient_json.status(incident)
    if status is None or status is snapshot.status:
        return snapshot
    changed_at = lenient_json.get_time(incident, "last_status_change_at")
    at: datetime | None
    match status:
        case IncidentStatus.TRIGGERED:
            return _back_to_triggered(snapshot, incident, changed_at, settled, occurrences)
        case IncidentStatus.ACKNOWLEDGED:
            newest = max(lenient_json.get_objects(incident, "acknowledgements"), key=_acknowledged_at, default={})
            at = lenient_json.get_time(newest, "at") or changed_at
            agent = lenient_json.get_object(newest, "acknowledger") or None
            return _change_status(snapshot, acknowledged.TYPE, status, at, settled, agent, occurrences)
        case IncidentStatus.RESOLVED:
            at = lenient_json.get_time(incident, "resolved_at") or changed_at
            agent = lenient_json.get_object(incident, "last_status_change_by") or None
            return _change_status(snapshot, resolved.TYPE, status, at, settled, agent, occurrences)
        case _:
            assert_never(status)


def _back_to_triggered(
    snapshot: Snapshot, incident: Json, changed_at: datetime | None, settled: datetime, occurrences: list[Occurrence]
) -> Snapshot:
    """Add an event if a resolution was sent before, unless the listing lags behind that resolution."""
    when = changed_at or snapshot.read_at
    if snapshot.status is not IncidentStatus.RESOLVED or not snapshot.created:
        return with_status(snapshot, IncidentStatus.TRIGGERED, when) if when <= settled else snapshot
    if changed_at is None or changed_at <= snapshot.status_at:
        return snapshot
    agent = lenient_json.get_object(incident, "last_status_change_by") or None
    return _change_status(snapshot, reopened.TYPE, IncidentStatus.TRIGGERED, changed_at, settled, agent, occurrences)


def _acknowledged_at(acknowledgement: Json) -> str:
    at = lenient_json.get_time(acknowledgement, "at")
    return at.isoformat() if at else ""


def _change_status(
    snapshot: Snapshot,
    event_type: EventType,
    status: IncidentStatus,
    at: datetime | None,
    settled: datetime,
    agent: Json | None,
    occurrences: list[Occurrence],
) -> Snapshot:
    """Add the change as an event, unless it is too recent, or older than one that was already sent."""
    when = at or snapshot.read_at
    if (at or settled) > settled:
        return snapshot
    if when >= snapshot.status_at:
        occurrences.append(Occurrence(event_type.name, when, when.isoformat(), agent=agent))
        since = (at or snapshot.status_at) - TOLERANCE
        snapshot = expect(snapshot, ExpectedEntry(event_type.name, since, when + TOLERANCE))
    return replace(snapshot, status=status, status_at=max(when, snapshot.status_at))
