"""A subtype of incident.assigned: incident.delegated."""

from __future__ import annotations

from daemon.triggers.event_type import EventType

TYPE = EventType(
    name="incident.delegated",
    subtype_of="incident.assigned",
    help="An incident was handed over to another escalation policy.",
    log_entry_types=frozenset({"delegate_log_entry"}),
    filters=("user",),
)
