"""Which assignment belongs to an incident's creation. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from daemon.model import EventType
from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from daemon.model import Event

APART = timedelta(seconds=1)  # how far apart an incident's time and that of its first assignment can be
ASSIGNMENT = "assign_log_entry"
AUTOMATIC = "auto"


def is_at_creation(event: Event) -> bool:
    """Whether an event is the assignment that PagerDuty itself makes when an incident is created.

    It comes with the creation and is made by no person. Where that is not clear, it counts as
    a later one: told twice is better than not told.
    """
    log_entry = lenient_json.get_object(event.payload, "log_entry")
    if event.type is not EventType.ASSIGNED or lenient_json.get_text(log_entry, "type") not in {None, ASSIGNMENT}:
        return False
    created_at = lenient_json.get_time(lenient_json.get_object(event.payload, "incident"), "created_at")
    if created_at is None or abs(event.occurred_at - created_at) > APART:
        return False
    by = lenient_json.get_text(lenient_json.get_object(event.payload, "agent"), "type") or ""
    return lenient_json.get_text(log_entry, "channel") == AUTOMATIC or not by.startswith("user")
