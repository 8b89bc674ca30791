"""The event type incident.resolved."""

from __future__ import annotations

from daemon.model import IncidentStatus
from daemon.triggers.event_type import EventType, Sample

TYPE = EventType(
    name="incident.resolved",
    help="An incident was resolved.",
    phrase="resolved",
    log_entry_types=frozenset({"resolve_log_entry"}),
    operation="OnIncidentResolved",
    in_webhooks_v3=True,
    status=IncidentStatus.RESOLVED,
    sample=Sample(status=IncidentStatus.RESOLVED),
)
