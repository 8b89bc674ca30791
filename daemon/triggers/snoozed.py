"""The event type incident.snoozed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from daemon.model import IncidentStatus
from daemon.text import iso
from daemon.triggers import lenient_json
from daemon.triggers.event_type import EventType, Sample, SimulatedChange, Verb

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.model import Json


def _read_changes(record: Json, channel: Json) -> Json:
    """Return for how many seconds, and until when."""
    snooze: Json = {}
    if isinstance(seconds := channel.get("duration"), int | float) and not isinstance(seconds, bool) and seconds > 0:
        snooze["duration"] = seconds
    for action in lenient_json.get_objects(record, "changed_actions"):
        at = lenient_json.get_time(action, "at")
        if lenient_json.get_text(action, "type") == "unacknowledge" and at is not None:
            snooze["until"] = iso(at)
    return {"snooze": snooze} if snooze else {}


def _snooze(_incident: Json, options: Json, now: datetime) -> SimulatedChange:
    seconds = int(options["duration"])
    until = now + timedelta(seconds=seconds)
    action = {"type": "unacknowledge", "at": until.isoformat()}
    return SimulatedChange({"snoozed_until": until}, {"duration": seconds}, {"changed_actions": [action]})


TYPE = EventType(
    name="incident.snoozed",
    help="An acknowledged incident was snoozed.",
    phrase="snoozed",
    log_entry_types=frozenset({"snooze_log_entry"}),
    read_changes=_read_changes,
    sample=Sample(
        status=IncidentStatus.ACKNOWLEDGED,
        changes={"snooze": {"duration": 3600, "until": "2026-01-01T13:00:00Z"}},
    ),
    verbs=(Verb("snooze", "snooze", _snooze, {"duration": 3600}, open_only=True),),
)
