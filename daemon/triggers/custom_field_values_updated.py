"""The event type incident.custom_field_values.updated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.triggers import field_changes
from daemon.triggers.event_type import EventType, SimulatedChange, Verb

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.model import Json


def _change_field(incident: Json, options: Json, _now: datetime) -> SimulatedChange:
    name, value, fields = options["name"], options["value"], incident["fields"]
    changeset = {"customer_fields": [field_changes.entry(name, value, fields.get(name))]}
    return SimulatedChange({"fields": fields | {name: value}}, {"changeset": changeset})


TYPE = EventType(
    name="incident.custom_field_values.updated",
    help="Custom fields of an incident changed.",
    phrase="has a changed custom field",
    log_entry_types=frozenset({"custom_field_value_change_log_entry"}),
    read_changes=field_changes.read,
    sample=field_changes.SAMPLE,
    verbs=(
        Verb(
            "change_field",
            "custom_field_value_change",
            _change_field,
            {"name": "environment", "value": "production"},
        ),
    ),
)
