"""The trigger incident.escalation_repeated."""

from __future__ import annotations

from daemon.model import EventType
from daemon.triggers.kind import Kind

KIND = Kind(
    type=EventType.ESCALATION_REPEATED,
    log_entry_types=frozenset({"repeat_escalation_path_log_entry"}),
    help="An escalation policy began again from its first level.",
)
