"""The event type incident.triggered."""

from __future__ import annotations

from daemon.model import IncidentStatus
from daemon.triggers.event_type import EventType

TYPE = EventType(
    name="incident.triggered",
    help="An incident was created. A repeated trigger event on an open incident does not count.",
    phrase="triggered:",
    log_entry_types=frozenset({"trigger_log_entry"}),
    operation="OnNewIncidentCreated",
    in_webhooks_v3=True,
    status=IncidentStatus.TRIGGERED,
)
