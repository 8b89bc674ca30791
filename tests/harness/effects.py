"""The effect of each action that changes an incident, as the simulated account records it."""

from __future__ import annotations

CHANGES = {
    "AcknowledgeIncident": "acknowledge",
    "ResolveIncident": "resolve",
    "ReassignIncident": "reassign",
    "SnoozeIncident": "snooze",
    "EscalateIncident": "escalate",
    "AddNoteToIncident": "annotate",
}
