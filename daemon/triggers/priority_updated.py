"""The event type incident.priority_updated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.triggers import lenient_json
from daemon.triggers.event_type import EventType, Sample, SimulatedChange, Verb

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.model import Json


def _read_changes(_record: Json, channel: Json) -> Json:
    """Return the priorities before and after; null where there was none."""
    keys = {"from": "old_priority", "to": "new_priority"}
    if not any(isinstance(channel.get(key), dict) for key in keys.values()):
        return {}
    return {"priority": {word: lenient_json.get_object(channel, key) or None for word, key in keys.items()}}


def _change_priority(incident: Json, options: Json, _now: datetime) -> SimulatedChange:
    channel = {"old_priority": incident["priority"], "new_priority": options["priority"]}
    return SimulatedChange({"priority": options["priority"]}, channel)


TYPE = EventType(
    name="incident.priority_updated",
    help="The priority of an incident changed.",
    phrase="has a new priority",
    log_entry_types=frozenset({"priority_change_log_entry"}),
    in_webhooks_v3=True,
    read_changes=_read_changes,
    sample=Sample(changes={"priority": {"from": None, "to": {"id": "PTESTPRIORITY", "summary": "P1"}}}),
    verbs=(Verb("change_priority", "priority_change", _change_priority, {"priority": None}),),
)
