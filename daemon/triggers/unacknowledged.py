"""The trigger incident.unacknowledged."""

from __future__ import annotations

from daemon.model import EventType
from daemon.triggers.kind import Kind

KIND = Kind(
    type=EventType.UNACKNOWLEDGED,
    log_entry_types=frozenset({"unacknowledge_log_entry"}),
    help="An acknowledgement timed out or was taken back.",
)
