"""What a log entry says about what changed: values alone, never read out of a summary. Pure.

What an entry does not carry is left out; one that carries nothing of it gives None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daemon.model import EventType
from daemon.text import iso
from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.model import Json, LogEntry

FIELD = ("id", "name", "value", "old_value")


def told(kind: EventType, entry: LogEntry) -> Json | None:
    """The changes that an entry tells of, under the names that receivers get."""
    reader = _READERS.get(kind)
    return None if reader is None else reader(entry.raw, lenient_json.get_object(entry.raw, "channel")) or None


def _priority(_record: Json, channel: Json) -> Json:
    """From one priority to another; null is none."""
    found = {"from": "old_priority", "to": "new_priority"}
    if not any(isinstance(channel.get(key), dict) for key in found.values()):
        return {}
    return {"priority": {word: lenient_json.get_object(channel, key) or None for word, key in found.items()}}


def _snooze(record: Json, channel: Json) -> Json:
    """For how many seconds, and until when."""
    found: Json = {}
    if isinstance(seconds := channel.get("duration"), int | float) and not isinstance(seconds, bool) and seconds > 0:
        found["duration"] = seconds
    for action in lenient_json.get_objects(record, "changed_actions"):
        at = lenient_json.get_time(action, "at")
        if lenient_json.get_text(action, "type") == "unacknowledge" and at is not None:
            found["until"] = iso(at)
    return {"snooze": found} if found else {}


def _fields(_record: Json, channel: Json) -> Json:
    """Each field's new value and the old one: of the account's own fields, and of PagerDuty's."""
    changeset = lenient_json.get_object(channel, "changeset")
    changed = [
        *lenient_json.get_objects(changeset, "customer_fields"),
        *lenient_json.get_objects(changeset, "application_fields"),
    ]
    fields = [
        _named(each) for each in changed if lenient_json.get_text(each, "name") or lenient_json.get_text(each, "id")
    ]
    return {"fields": fields} if fields else {}


def _named(field: Json) -> dict[str, Any]:
    return {key: field[key] for key in FIELD if key in field}


_READERS: dict[EventType, Callable[[Json, Json], Json]] = {
    EventType.PRIORITY_UPDATED: _priority,
    EventType.SNOOZED: _snooze,
    EventType.FIELD_VALUES_UPDATED: _fields,
    EventType.CUSTOM_FIELD_VALUES_UPDATED: _fields,
}
