"""The trigger incident.triggered."""

from __future__ import annotations

from daemon.model import EventType
from daemon.triggers.kind import Kind

KIND = Kind(
    type=EventType.TRIGGERED,
    operation="OnNewIncidentCreated",
    log_entry_types=frozenset({"trigger_log_entry"}),
    help="An incident was opened. A repeated trigger event on an open incident is none.",
)
