"""The trigger incident.annotated."""

from __future__ import annotations

from daemon.model import EventType
from daemon.triggers.kind import Kind

KIND = Kind(
    type=EventType.ANNOTATED,
    operation="OnNewIncidentNote",
    filters=("incident",),
    log_entry_types=frozenset({"annotate_log_entry"}),
    help="A note was added to an incident.",
)
