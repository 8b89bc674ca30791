"""The trigger incident.snoozed."""

from __future__ import annotations

from daemon.model import EventType
from daemon.triggers.kind import Kind

KIND = Kind(
    type=EventType.SNOOZED,
    log_entry_types=frozenset({"snooze_log_entry"}),
    help="An acknowledged incident was snoozed.",
)
