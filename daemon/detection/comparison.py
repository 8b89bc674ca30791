"""Changes between two snapshots of an incident, for event types that no log entry reports. Pure.

Only values that both have are compared. If PagerDuty served the later one from an older state, nothing has
changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.detection.events import Occurrence
from daemon.triggers import OPTIONAL_PARTS, REGISTRY, lenient_json

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.model import Json, Snapshot
    from daemon.triggers.event_type import Difference


def is_outdated(snapshot: Snapshot, incident: Json) -> bool:
    """Return whether PagerDuty changed the incident after this state of it and before the snapshot's."""
    known = lenient_json.get_time(snapshot.incident, "updated_at")
    updated_at = lenient_json.get_time(incident, "updated_at")
    return known is not None and updated_at is not None and updated_at < known


def complete(incident: Json, known: Json) -> Json:
    """Return a reading of an incident with the optional parts that it lacks, as they were in an earlier reading."""
    return incident | {part: known[part] for part in OPTIONAL_PARTS if part in known and incident.get(part) is None}


def compare(snapshot: Snapshot, incident: Json, read_at: datetime) -> list[Occurrence]:
    """Return what changed between a snapshot and a later reading of its incident.

    The time is the change's own if the incident shows it, else that of the incident's last change if there was one
    since the snapshot, else that of the reading.
    """
    if not snapshot.created or is_outdated(snapshot, incident):
        return []
    known, updated_at = (lenient_json.get_time(each, "updated_at") for each in (snapshot.incident, incident))
    at = read_at if updated_at is None or updated_at == known else updated_at
    return [
        _occurrence(each.name, difference, at, read_at)
        for each in REGISTRY.values()
        if each.compare is not None
        for difference in each.compare(snapshot.incident, incident)
    ]


def _occurrence(name: str, difference: Difference, at: datetime, read_at: datetime) -> Occurrence:
    at = at if difference.at is None else min(difference.at, read_at)
    key = f"{at.isoformat()}\x1f{difference.key}" if difference.key else at.isoformat()
    return Occurrence(name, at, key, agent=difference.agent, changes=difference.changes)
