"""Changes between two snapshots of an incident, for event types that no log entry reports. Pure.

Only values that both have are compared. If PagerDuty served the later one from an older state, nothing has
changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.detection.events import Occurrence
from daemon.triggers import REGISTRY, lenient_json

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.model import Json, Snapshot


def is_outdated(snapshot: Snapshot, incident: Json) -> bool:
    """Return whether PagerDuty changed the incident after this state of it and before the snapshot's."""
    known = lenient_json.get_time(snapshot.incident, "updated_at")
    updated_at = lenient_json.get_time(incident, "updated_at")
    return known is not None and updated_at is not None and updated_at < known


def compare(snapshot: Snapshot, incident: Json, read_at: datetime) -> list[Occurrence]:
    """Return what changed between a snapshot and a later reading of its incident.

    The time is that of the incident's last change if there was one since the snapshot, else that of the reading.
    """
    if not snapshot.created or is_outdated(snapshot, incident):
        return []
    known, updated_at = (lenient_json.get_time(each, "updated_at") for each in (snapshot.incident, incident))
    at = read_at if updated_at is None or updated_at == known else updated_at
    return [
        Occurrence(each.name, at, at.isoformat(), changes=changes)
        for each in REGISTRY.values()
        if each.compare is not None and (changes := each.compare(snapshot.incident, incident))
    ]
