"""A subtype of incident.assigned: incident.escalated."""

from __future__ import annotations

from daemon.triggers.event_type import EventType

TYPE = EventType(
    name="incident.escalated",
    subtype_of="incident.assigned",
    help="An incident was escalated, by hand or by a time-out.",
    log_entry_types=frozenset({"escalate_log_entry"}),
    filters=("user",),
)
