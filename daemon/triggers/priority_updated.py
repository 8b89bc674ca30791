"""The trigger incident.priority_updated."""

from __future__ import annotations

from daemon.model import EventType
from daemon.triggers.kind import Kind

KIND = Kind(
    type=EventType.PRIORITY_UPDATED,
    log_entry_types=frozenset({"priority_change_log_entry"}),
    help="The priority of an incident changed.",
)
