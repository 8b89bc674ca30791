"""A narrower name of incident.assigned: incident.escalated."""

from __future__ import annotations

from daemon.model import EventType
from daemon.triggers.kind import Kind

KIND = Kind(
    type=EventType.ASSIGNED,
    filters=("user",),
    log_entry_types=frozenset({"escalate_log_entry"}),
    help="An incident was escalated, by hand or by a time-out.",
)
