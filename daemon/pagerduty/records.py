"""Lenient conversion of PagerDuty's records to the project's types: a malformed record never affects the others.

A log entry needs an id, a type, a time and an incident's id. Any other field that is
missing or has the wrong type counts as absent. Contact details of people are dropped here.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import orjson

from daemon.model import LogEntry, Rejected
from daemon.triggers import alert_details, conference_bridge_updated, lenient_json

if TYPE_CHECKING:
    from daemon.model import Json

LONGEST_RAW = 64 * 1024
LONGEST_ID = 255
LONGEST_VALUE = 256 * 1024  # bytes of JSON: well above the longest note
DEEPEST = 64
LEVELS_AROUND = 16  # stored and sent records are wrapped in a few more objects
CONTACTS = frozenset({"address", "contact_methods", "email", "notification", "notification_rules", "phone_number"})
NOTE_TYPES = frozenset({"annotate_log_entry", "resolve_log_entry"})
_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def decode(body: bytes) -> Any:  # noqa: ANN401 - any JSON
    """Return decoded JSON that can be encoded again, with null for what is nested too deeply. Raises ValueError."""
    try:
        value = _decode(body)
    except (ValueError, RecursionError):
        return _decode(_shallow(body))
    return value if _can_be_encoded(value) else _decode(_shallow(body))


def _decode(body: bytes) -> Any:  # noqa: ANN401 - any JSON
    try:
        return orjson.loads(body)
    except ValueError:
        # Some writers consider half a surrogate pair in a title valid JSON; it must not fail a whole page.
        return _storable(json.loads(body, parse_constant=_no_number, parse_int=_number))


def _can_be_encoded(value: object) -> bool:
    """Return whether the value is shallow enough to be encoded inside a few more levels."""
    for _ in range(LEVELS_AROUND):
        value = [value]
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


def _shallow(body: bytes) -> bytes:
    """Return the same JSON with null for everything nested deeper than ``DEEPEST``."""
    parts: list[bytes] = []
    depth = end = 0
    for token in _STRUCTURE.finditer(body):
        if token[0] in b"[{":
            depth += 1
            if depth == DEEPEST + 1:
                parts += [body[end : token.start()], b"null"]
        elif token[0] in b"]}":
            if depth == DEEPEST + 1:
                end = token.end()
            depth -= 1
    return b"".join([*parts, body[end:]])


def _no_number(name: str) -> Any:  # noqa: ANN401 - never returns
    message = f"{name} is not valid JSON"
    raise ValueError(message)


def _number(digits: str) -> int | float:
    """Return a whole number, rounded if it has more than 64 bits, as JavaScript would."""
    rounded = float(digits)
    return int(digits) if -(2**63) <= rounded < 2**64 else rounded


def _storable(value: Any) -> Any:  # noqa: ANN401 - any JSON
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list():
            return [_storable(item) for item in value]
        case dict():
            return {_storable(key): _storable(item) for key, item in value.items()}
        case _:
            return value


def without_bulk(raw: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return a record whose channel keeps only values of moderate size: alerts carry up to 512 KB, and that twice.

    Of large ``details`` the part is kept that events pass on.
    """
    channel = raw.get("channel") if isinstance(raw, dict) else None
    if not isinstance(channel, dict):
        return raw
    small = {key: value for key, value in channel.items() if len(orjson.dumps(value)) <= LONGEST_VALUE}
    if len(small) == len(channel):
        return raw
    if "details" in channel and "details" not in small:
        small["details"] = alert_details.read(channel)
    return {**raw, "channel": small}


def log_entry(raw: object) -> LogEntry | Rejected:
    """Convert one record of GET /log_entries."""
    entry_id, incident_id = _id(raw), _id(lenient_json.get_object(raw, "incident"))
    kind, created_at = lenient_json.get_text(raw, "type"), lenient_json.get_time(raw, "created_at")
    if not isinstance(raw, dict):
        return rejected("the record is not an object", raw)
    if entry_id is None:
        return rejected("the record has no id", raw)
    if kind is None:
        return rejected("the record has no type", raw)
    if created_at is None:
        return rejected("the record has no valid created_at", raw)
    if incident_id is None:
        return rejected("the record has no incident id", raw)
    record = _without_contacts(raw)
    return LogEntry(
        id=entry_id,
        type=kind,
        created_at=created_at,
        incident_id=incident_id,
        incident=_embedded(record.pop("incident")),
        agent=lenient_json.get_object(record, "agent") or None,
        assignees=_assignees(record),
        note=_note(record, kind),
        raw=record,
    )


def _embedded(incident: Json) -> Json:
    """Return an embedded incident without an empty conference bridge: log entries do not tell that there is none."""
    return {key: value for key, value in incident.items() if value or key != conference_bridge_updated.PART}


def incident(raw: object) -> tuple[str, Json] | Rejected:
    """Convert one record of GET /incidents or GET /incidents/{id}; return it with its id."""
    incident_id = _id(raw)
    if not isinstance(raw, dict) or incident_id is None:
        return rejected("the incident has no id", raw)
    return incident_id, _without_contacts(raw)


def rejected(reason: str, raw: object) -> Rejected:
    """Return a rejected record without people's contact details and with bounded size."""
    text = orjson.dumps(_without_contacts(raw))[:LONGEST_RAW].decode(errors="ignore")
    return Rejected(reason, text)


def _without_contacts(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return the value without the addresses and numbers of people, at any depth."""
    match value:
        case list():
            return [_without_contacts(item) for item in value]
        case dict():
            return {key: _without_contacts(item) for key, item in value.items() if key not in CONTACTS}
        case _:
            return value


def _id(record: object) -> str | None:
    value = lenient_json.get_text(record, "id")
    return value if value and len(value) <= LONGEST_ID and "\x00" not in value else None


def _assignees(raw: Json) -> tuple[Json, ...] | None:
    if not isinstance(raw.get("assignees"), list):
        return None
    return tuple(each for each in lenient_json.get_objects(raw, "assignees") if _id(each))


def _note(raw: Json, kind: str) -> str | None:
    """Return the text of a note; never from the record's own summary, whose wording changes."""
    if kind not in NOTE_TYPES:
        return None
    if kind == "resolve_log_entry":
        return lenient_json.get_text(raw, "note")
    channel = lenient_json.get_object(raw, "channel")
    return (
        lenient_json.get_text(channel, "content")
        or lenient_json.get_text(channel, "summary")
        or lenient_json.get_text(raw, "note")
    )
