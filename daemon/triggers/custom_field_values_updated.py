"""The trigger incident.custom_field_values.updated."""

from __future__ import annotations

from daemon.model import EventType
from daemon.triggers.kind import Kind

KIND = Kind(
    type=EventType.CUSTOM_FIELD_VALUES_UPDATED,
    log_entry_types=frozenset({"custom_field_value_change_log_entry"}),
    help="Custom fields of an incident changed.",
)
