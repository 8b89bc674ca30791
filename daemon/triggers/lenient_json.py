"""Lenient access to PagerDuty's resources: a value that is missing, null or of the wrong type counts as absent.

Pure functions over decoded JSON. They never raise.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from daemon.model import IncidentStatus

if TYPE_CHECKING:
    from daemon.model import Json

FIRST_YEAR = 1970
LAST_YEAR = 2999


def get_text(resource: object, key: str) -> str | None:
    """Return a text that is not empty, or None."""
    value = resource.get(key) if isinstance(resource, dict) else None
    return value if isinstance(value, str) and value else None


def get_number(resource: object, *keys: str) -> int | None:
    """Return the first positive whole number among these keys, or None."""
    values = [resource.get(key) for key in keys] if isinstance(resource, dict) else []
    return next((each for each in values if isinstance(each, int) and each > 0), None)


def get_object(resource: object, key: str) -> Json:
    """Return an object, or an empty one."""
    value = resource.get(key) if isinstance(resource, dict) else None
    return value if isinstance(value, dict) else {}


def get_objects(resource: object, key: str) -> list[Json]:
    """Return the objects in a list, without its other values."""
    value: Any = resource.get(key) if isinstance(resource, dict) else None
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def get_time(resource: object, key: str) -> datetime | None:
    """Return a time in UTC. One without an offset is taken as UTC; one that is centuries off counts as absent."""
    value = get_text(resource, key)
    if value is None:
        return None
    try:
        parsed = datetime.fromisoformat(value)
        time = parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return time if FIRST_YEAR <= time.year <= LAST_YEAR else None


def status(incident: object) -> IncidentStatus | None:
    """Return an incident's status if it is a known one."""
    value = get_text(incident, "status")
    return IncidentStatus(value) if value in set(IncidentStatus) else None


def assigned_user(incident: object) -> str | None:
    """Return the connector's ``assignedUserId``: the id of the first assignee."""
    pairs = assignments(incident)
    return get_text(pairs[0][0], "id") if pairs else None


def assignments(incident: object) -> list[tuple[Json, datetime | None]]:
    """Return an incident's assignees (references that have an id), each with the time of its assignment."""
    pairs = [(get_object(each, "assignee"), get_time(each, "at")) for each in get_objects(incident, "assignments")]
    return [(assignee, at) for assignee, at in pairs if get_text(assignee, "id")]
