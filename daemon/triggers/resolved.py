"""The event type incident.resolved."""

from __future__ import annotations

from daemon.model import Status
from daemon.triggers.event_type import EventType, Sample

TYPE = EventType(
    name="incident.resolved",
    help="An incident was resolved.",
    phrase="resolved",
    log_entry_types=frozenset({"resolve_log_entry"}),
    operation="OnIncidentResolved",
    in_webhooks_v3=True,
    status=Status.RESOLVED,
    sample=Sample(status=Status.RESOLVED),
)
