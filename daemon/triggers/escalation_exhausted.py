"""The event type incident.escalation_exhausted."""

from __future__ import annotations

from daemon.triggers.event_type import EventType, Verb, unchanged

TYPE = EventType(
    name="incident.escalation_exhausted",
    help="An escalation policy ended without an acknowledgement of the incident.",
    phrase="escalation ended",
    log_entry_types=frozenset({"exhaust_escalation_path_log_entry"}),
    verbs=(Verb("exhaust_escalation", "exhaust_escalation_path", unchanged, automatic="timeout", open_only=True),),
)
