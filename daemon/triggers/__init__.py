"""The registry of triggers: one file per trigger, one line here.

CLI, configuration check and the documentation's table are derived from ``REGISTRY``, which holds
the types of events, and ``NARROWER``, which holds further names for some events of a type: these
are names to subscribe by, and no events of their own. ``EVERY`` is the name for all types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.model import EventType
from daemon.triggers import (
    acknowledged,
    annotated,
    assigned,
    custom_field_values_updated,
    delegated,
    escalated,
    escalation_exhausted,
    escalation_repeated,
    field_values_updated,
    lenient_json,
    priority_updated,
    reassigned,
    reopened,
    resolved,
    snoozed,
    triggered,
    unacknowledged,
    urgency_updated,
)
from daemon.triggers.creation import ASSIGNMENT, is_at_creation
from daemon.triggers.kind import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from daemon.model import Event

REGISTRY: dict[str, Kind] = {
    "incident.triggered": triggered.KIND,
    "incident.assigned": assigned.KIND,
    "incident.acknowledged": acknowledged.KIND,
    "incident.unacknowledged": unacknowledged.KIND,
    "incident.resolved": resolved.KIND,
    "incident.reopened": reopened.KIND,
    "incident.annotated": annotated.KIND,
    "incident.snoozed": snoozed.KIND,
    "incident.priority_updated": priority_updated.KIND,
    "incident.urgency_updated": urgency_updated.KIND,
    "incident.field_values.updated": field_values_updated.KIND,
    "incident.custom_field_values.updated": custom_field_values_updated.KIND,
    "incident.escalation_repeated": escalation_repeated.KIND,
    "incident.escalation_exhausted": escalation_exhausted.KIND,
}

NARROWER: dict[str, Kind] = {
    "incident.reassigned": reassigned.KIND,
    "incident.escalated": escalated.KIND,
    "incident.delegated": delegated.KIND,
}

KINDS = REGISTRY | NARROWER  # by every single name that a trigger may have in ``on``

BY_OPERATION: dict[str, Kind] = {kind.operation: kind for kind in REGISTRY.values() if kind.operation}

EVERY = "incident.*"

_BY_LOG_ENTRY = {entry: name for name, kind in NARROWER.items() for entry in kind.log_entry_types}


def narrower(event: Event) -> str | None:
    """The narrower name of an event, None if it has none.

    PagerDuty's V3 webhooks know assignments by these names alone. The one at an incident's creation
    has none: V3 tells it with ``incident.triggered``. What reconciliation found has no log entry to tell
    how it came about: it is a reassignment.
    """
    if event.type is not EventType.ASSIGNED or is_at_creation(event):
        return None
    entry = lenient_json.get_text(lenient_json.get_object(event.payload, "log_entry"), "type")
    return _BY_LOG_ENTRY.get(entry or ASSIGNMENT)


def single(names: Iterable[str]) -> Iterator[str]:
    """The names that these stand for: each type of event instead of ``EVERY``."""
    for name in names:
        if name == EVERY:
            yield from REGISTRY
        else:
            yield name


__all__ = ["BY_OPERATION", "EVERY", "KINDS", "NARROWER", "REGISTRY", "Kind", "narrower", "single"]
