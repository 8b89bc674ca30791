"""The trigger incident.field_values.updated."""

from __future__ import annotations

from daemon.model import EventType
from daemon.triggers.kind import Kind

KIND = Kind(
    type=EventType.FIELD_VALUES_UPDATED,
    log_entry_types=frozenset({"field_value_change_log_entry"}),
    help="Fields of an incident changed, such as its title or service.",
)
