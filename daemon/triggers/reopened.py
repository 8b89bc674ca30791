"""The event type incident.reopened."""

from __future__ import annotations

from daemon.model import IncidentStatus
from daemon.triggers.event_type import EventType

TYPE = EventType(
    name="incident.reopened",
    help="A resolved incident was opened again.",
    phrase="opened again",
    log_entry_types=frozenset({"reopen_log_entry"}),
    in_webhooks_v3=True,
    status=IncidentStatus.TRIGGERED,
)
