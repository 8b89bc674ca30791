"""The assignment that belongs to an incident's creation. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from daemon.triggers import assigned, lenient_json

if TYPE_CHECKING:
    from daemon.model import Event

APART = timedelta(seconds=1)  # how far an incident's time and that of its first assignment can differ
ASSIGNMENT = "assign_log_entry"
AUTOMATIC = "auto"


def is_at_creation(event: Event) -> bool:
    """Return whether an event is the assignment that PagerDuty itself makes when an incident is created.

    It happens at the creation and is not made by a person. If that is unclear, it counts as a later
    one: sending it twice is better than not at all.
    """
    log_entry = lenient_json.get_object(event.payload, "log_entry")
    if event.type != assigned.TYPE.name or lenient_json.get_text(log_entry, "type") not in {None, ASSIGNMENT}:
        return False
    created_at = lenient_json.get_time(lenient_json.get_object(event.payload, "incident"), "created_at")
    if created_at is None or abs(event.occurred_at - created_at) > APART:
        return False
    agent = lenient_json.get_text(lenient_json.get_object(event.payload, "agent"), "type") or ""
    return lenient_json.get_text(log_entry, "channel") == AUTOMATIC or not agent.startswith("user")
