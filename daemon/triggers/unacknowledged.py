"""The event type incident.unacknowledged."""

from __future__ import annotations

from daemon.model import IncidentStatus
from daemon.triggers.event_type import EventType

TYPE = EventType(
    name="incident.unacknowledged",
    help="An acknowledgement timed out or was withdrawn.",
    phrase="is no longer acknowledged",
    log_entry_types=frozenset({"unacknowledge_log_entry"}),
    in_webhooks_v3=True,
    status=IncidentStatus.TRIGGERED,
)
