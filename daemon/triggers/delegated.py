"""A narrower name of incident.assigned: incident.delegated."""

from __future__ import annotations

from daemon.model import EventType
from daemon.triggers.kind import Kind

KIND = Kind(
    type=EventType.ASSIGNED,
    filters=("user",),
    log_entry_types=frozenset({"delegate_log_entry"}),
    help="An incident was handed over to another escalation policy.",
)
