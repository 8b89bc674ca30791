"""The registry of event types: one file per type, one line here.

Detection, configuration check, command line, samples and simulator are derived from ``REGISTRY``. ``SUBTYPES`` are
further names for some events of a type: names to subscribe by, not events of their own.
``EVERY`` is the name for all types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.triggers import (
    acknowledged,
    annotated,
    assigned,
    conference_bridge_updated,
    custom_field_values_updated,
    delegated,
    escalated,
    escalation_exhausted,
    escalation_repeated,
    field_values_updated,
    incident_type_changed,
    lenient_json,
    priority_updated,
    reassigned,
    reopened,
    resolved,
    responder_added,
    responder_replied,
    responders,
    service_updated,
    snoozed,
    status_update_published,
    triggered,
    unacknowledged,
    urgency_updated,
)
from daemon.triggers.creation import ASSIGNMENT, is_at_creation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from daemon.model import Event
    from daemon.triggers.event_type import EventType, Verb

REGISTRY: dict[str, EventType] = {
    each.TYPE.name: each.TYPE
    for each in (
        triggered,
        assigned,
        acknowledged,
        unacknowledged,
        resolved,
        reopened,
        annotated,
        snoozed,
        priority_updated,
        urgency_updated,
        field_values_updated,
        custom_field_values_updated,
        escalation_repeated,
        escalation_exhausted,
        service_updated,
        incident_type_changed,
        responder_added,
        responder_replied,
        status_update_published,
        conference_bridge_updated,
    )
}

SUBTYPES: dict[str, EventType] = {each.TYPE.name: each.TYPE for each in (reassigned, escalated, delegated)}

BY_NAME = REGISTRY | SUBTYPES  # every name that a trigger may have in ``on``

BY_OPERATION: dict[str, EventType] = {each.operation: each for each in REGISTRY.values() if each.operation}

BY_LOG_ENTRY: dict[str, EventType] = {entry: each for each in REGISTRY.values() for entry in each.log_entry_types}

VERBS: dict[str, tuple[Verb, EventType]] = {
    verb.name: (verb, each) for each in REGISTRY.values() for verb in each.verbs
}

EVERY = "incident.*"

# Log entries without an event: notifications, limits that stop further notifications, alerts that move from one
# incident to another, and requests for responders, which the incident itself shows.
NOT_EVENTS = frozenset(
    {
        "notify_log_entry",
        "reach_ack_limit_log_entry",
        "reach_trigger_limit_log_entry",
        "link_log_entry",
        "unlink_log_entry",
        "responder_request_log_entry",
        "merge_log_entry",  # not documented, like the next one; the merged incident has a resolution of its own
        "responder_request_for_escalation_policy_log_entry",
    }
)

# Parts of an incident that types are compared by, and that PagerDuty does not return wherever it returns an incident.
OPTIONAL_PARTS = (responders.PART, conference_bridge_updated.PART)

_SUBTYPE_BY_LOG_ENTRY = {entry: name for name, each in SUBTYPES.items() for entry in each.log_entry_types}


def subtype(event: Event) -> str | None:
    """Return the name of an event's subtype, or None if it has none.

    PagerDuty's V3 webhooks know assignments only by these names. The assignment at an incident's
    creation has no subtype: V3 reports it with ``incident.triggered``. An event found by reconciliation
    has no log entry that shows its cause: it counts as a reassignment.
    """
    if event.type != assigned.TYPE.name or is_at_creation(event):
        return None
    entry = lenient_json.get_text(lenient_json.get_object(event.payload, "log_entry"), "type")
    return _SUBTYPE_BY_LOG_ENTRY.get(entry or ASSIGNMENT)


def is_known(log_entry_type: str) -> bool:
    """Return whether pagerelay knows this type of log entry, even if it is not an event."""
    return log_entry_type in BY_LOG_ENTRY or log_entry_type in NOT_EVENTS


def expand(names: Iterable[str]) -> Iterator[str]:
    """Yield the event types for these names: every type for ``EVERY``."""
    for name in names:
        if name == EVERY:
            yield from REGISTRY
        else:
            yield name
