"""The event type incident.annotated."""

from __future__ import annotations

from daemon.model import IncidentStatus
from daemon.triggers.event_type import EventType, Sample

TYPE = EventType(
    name="incident.annotated",
    help="A note was added to an incident.",
    phrase="note:",
    log_entry_types=frozenset({"annotate_log_entry"}),
    operation="OnNewIncidentNote",
    filters=("incident",),
    in_webhooks_v3=True,
    sample=Sample(status=IncidentStatus.ACKNOWLEDGED),
)
