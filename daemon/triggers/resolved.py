"""The trigger incident.resolved."""

from __future__ import annotations

from daemon.model import EventType
from daemon.triggers.kind import Kind

KIND = Kind(
    type=EventType.RESOLVED,
    operation="OnIncidentResolved",
    log_entry_types=frozenset({"resolve_log_entry"}),
    help="An incident was resolved.",
)
