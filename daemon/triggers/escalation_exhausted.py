"""The trigger incident.escalation_exhausted."""

from __future__ import annotations

from daemon.model import EventType
from daemon.triggers.kind import Kind

KIND = Kind(
    type=EventType.ESCALATION_EXHAUSTED,
    log_entry_types=frozenset({"exhaust_escalation_path_log_entry"}),
    help="An escalation policy came to its end, and nobody had acknowledged the incident.",
)
