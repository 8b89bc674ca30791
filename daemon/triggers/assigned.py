"""The event type incident.assigned."""

from __future__ import annotations

from daemon.triggers.event_type import EventType, Sample

TYPE = EventType(
    name="incident.assigned",
    help="An incident was assigned to somebody: at its creation, by hand, by escalation or by delegation.",
    phrase="assigned to",
    log_entry_types=frozenset({"assign_log_entry", "escalate_log_entry", "delegate_log_entry"}),
    operation="OnIncidentAssigned",
    filters=("user",),
    sample=Sample(log_entry_type="escalate_log_entry"),
)
