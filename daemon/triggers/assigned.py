"""The trigger incident.assigned."""

from __future__ import annotations

from daemon.model import EventType
from daemon.triggers.kind import Kind

KIND = Kind(
    type=EventType.ASSIGNED,
    operation="OnIncidentAssigned",
    filters=("user",),
    log_entry_types=frozenset({"assign_log_entry", "escalate_log_entry", "delegate_log_entry"}),
    help="An incident was assigned to somebody: at its creation, by hand, by escalation or by delegation.",
)
