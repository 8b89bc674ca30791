"""A narrower name of incident.assigned: incident.reassigned."""

from __future__ import annotations

from daemon.model import EventType
from daemon.triggers.kind import Kind

KIND = Kind(
    type=EventType.ASSIGNED,
    filters=("user",),
    log_entry_types=frozenset({"assign_log_entry"}),
    help="An incident was assigned to somebody else: not the assignment at its creation.",
)
