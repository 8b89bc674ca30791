"""The trigger incident.reopened."""

from __future__ import annotations

from daemon.model import EventType
from daemon.triggers.kind import Kind

KIND = Kind(
    type=EventType.REOPENED,
    log_entry_types=frozenset({"reopen_log_entry"}),
    help="A resolved incident was opened again.",
)
