"""A subtype of incident.assigned: incident.reassigned."""

from __future__ import annotations

from daemon.triggers.event_type import EventType

TYPE = EventType(
    name="incident.reassigned",
    subtype_of="incident.assigned",
    help="An incident was assigned to somebody else; its assignment at creation does not count.",
    log_entry_types=frozenset({"assign_log_entry"}),
    filters=("user",),
)
