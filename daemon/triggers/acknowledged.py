"""The event type incident.acknowledged."""

from __future__ import annotations

from daemon.model import IncidentStatus
from daemon.triggers.event_type import EventType, Sample

TYPE = EventType(
    name="incident.acknowledged",
    help="Somebody acknowledged an incident.",
    phrase="acknowledged",
    log_entry_types=frozenset({"acknowledge_log_entry", "acknowledgement_log_entry"}),
    operation="OnIncidentAcknowledged",
    in_webhooks_v3=True,
    status=IncidentStatus.ACKNOWLEDGED,
    sample=Sample(status=IncidentStatus.ACKNOWLEDGED),
)
