"""The trigger incident.acknowledged."""

from __future__ import annotations

from daemon.model import EventType
from daemon.triggers.kind import Kind

KIND = Kind(
    type=EventType.ACKNOWLEDGED,
    operation="OnIncidentAcknowledged",
    log_entry_types=frozenset({"acknowledge_log_entry", "acknowledgement_log_entry"}),
    help="Somebody acknowledged an incident.",
)
