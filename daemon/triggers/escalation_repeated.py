"""The event type incident.escalation_repeated."""

from __future__ import annotations

from daemon.triggers.event_type import EventType, Verb, unchanged

TYPE = EventType(
    name="incident.escalation_repeated",
    help="An escalation policy began again from its first level.",
    phrase="escalation began again",
    log_entry_types=frozenset({"repeat_escalation_path_log_entry"}),
    verbs=(Verb("repeat_escalation", "repeat_escalation_path", unchanged, automatic="timeout", open_only=True),),
)
