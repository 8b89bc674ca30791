"""The event type incident.status_update_published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.triggers import lenient_json
from daemon.triggers.event_type import EventType, Sample, SimulatedChange, Verb

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.model import Json


def _read_changes(record: Json, _channel: Json) -> Json:
    """Return the text, which PagerDuty's own programs read from the record's ``message``."""
    message = lenient_json.get_text(record, "message")
    return {"status_update": {"message": message}} if message else {}


def _publish(_incident: Json, options: Json, _now: datetime) -> SimulatedChange:
    return SimulatedChange(record={"message": options["message"]})


TYPE = EventType(
    name="incident.status_update_published",
    help="A status update was sent to an incident's subscribers.",
    phrase="has a status update",
    log_entry_types=frozenset({"status_update_log_entry"}),
    in_webhooks_v3=True,
    read_changes=_read_changes,
    sample=Sample(changes={"status_update": {"message": 'A fix is on its way, "soon".'}}),
    verbs=(Verb("publish_status_update", "status_update", _publish, {"message": "A fix is being tested."}),),
)
