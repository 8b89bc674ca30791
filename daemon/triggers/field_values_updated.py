"""The event type incident.field_values.updated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.triggers import field_changes
from daemon.triggers.event_type import EventType, SimulatedChange, Verb

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.model import Json


def _retitle(incident: Json, options: Json, _now: datetime) -> SimulatedChange:
    title = str(options["title"])
    changeset = {"application_fields": [field_changes.entry("title", title, incident["title"])]}
    return SimulatedChange({"title": title}, {"changeset": changeset})


TYPE = EventType(
    name="incident.field_values.updated",
    help="Fields of an incident changed, such as its title or service.",
    phrase="has another title",
    log_entry_types=frozenset({"field_value_change_log_entry"}),
    read_changes=field_changes.read,
    sample=field_changes.SAMPLE,
    verbs=(Verb("retitle", "field_value_change", _retitle, {"title": "Checkout answers with 502"}),),
)
