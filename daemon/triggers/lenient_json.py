"""Reading PagerDuty's resources leniently: whatever is missing, null or of a wrong type counts as absent.

Pure functions over decoded JSON; no error ever leaves them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from daemon.model import Status

if TYPE_CHECKING:
    from daemon.model import Json

FIRST_YEAR = 1970
LAST_YEAR = 2999


def text(resource: object, key: str) -> str | None:
    """A text that is not empty, or None."""
    value = resource.get(key) if isinstance(resource, dict) else None
    return value if isinstance(value, str) and value else None


def inner(resource: object, key: str) -> Json:
    """An object, or an empty one."""
    value = resource.get(key) if isinstance(resource, dict) else None
    return value if isinstance(value, dict) else {}


def listed(resource: object, key: str) -> list[Json]:
    """A list's objects, or none."""
    value: Any = resource.get(key) if isinstance(resource, dict) else None
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def moment(resource: object, key: str) -> datetime | None:
    """An instant in UTC; a time without an offset is taken as UTC, one that is centuries off counts as absent."""
    value = text(resource, key)
    if value is None:
        return None
    try:
        parsed = datetime.fromisoformat(value)
        found = parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return found if FIRST_YEAR <= found.year <= LAST_YEAR else None


def status(incident: object) -> Status | None:
    """An incident's state, if it says one that is known."""
    value = text(incident, "status")
    return Status(value) if value in set(Status) else None


def assigned_user(incident: object) -> str | None:
    """The connector's assignedUserId: the first of those whom the incident is assigned to."""
    found = assignments(incident)
    return text(found[0][0], "id") if found else None


def assignments(incident: object) -> list[tuple[Json, datetime | None]]:
    """Who an incident is assigned to (references with an id), and since when."""
    found = [(inner(each, "assignee"), moment(each, "at")) for each in listed(incident, "assignments")]
    return [(assignee, at) for assignee, at in found if text(assignee, "id")]
