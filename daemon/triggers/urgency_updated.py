"""The event type incident.urgency_updated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.triggers.event_type import EventType, SimulatedChange, Verb

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.model import Json


def _change_urgency(incident: Json, _options: Json, _now: datetime) -> SimulatedChange:
    return SimulatedChange({"urgency": "low" if incident["urgency"] == "high" else "high"})


TYPE = EventType(
    name="incident.urgency_updated",
    help="The urgency of an incident changed.",
    phrase="has a new urgency",
    log_entry_types=frozenset({"urgency_change_log_entry"}),
    verbs=(Verb("change_urgency", "urgency_change", _change_urgency),),
)
