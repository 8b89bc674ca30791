"""The trigger incident.urgency_updated."""

from __future__ import annotations

from daemon.model import EventType
from daemon.triggers.kind import Kind

KIND = Kind(
    type=EventType.URGENCY_UPDATED,
    log_entry_types=frozenset({"urgency_change_log_entry"}),
    help="The urgency of an incident changed.",
)
