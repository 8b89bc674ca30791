"""The registry of actions: one file per operation, one line here, in the order of the connector's reference.

API, command line, parameter checks and the documentation's table are derived from ``REGISTRY``.
"""

from __future__ import annotations

from daemon.actions import (
    acknowledge_incident,
    add_note_to_incident,
    create_incident,
    escalate_incident,
    get_incident_by_key,
    get_user,
    reassign_incident,
    resolve_incident,
    snooze_incident,
)
from daemon.actions.check import Checked, check
from daemon.actions.operation import ActionRun, Operation, Parameters, RunOutcome, Succeeded

REGISTRY: dict[str, Operation] = {
    "GetIncidentByKey": get_incident_by_key.OPERATION,
    "GetUser": get_user.OPERATION,
    "AddNoteToIncident": add_note_to_incident.OPERATION,
    "AcknowledgeIncident": acknowledge_incident.OPERATION,
    "ResolveIncident": resolve_incident.OPERATION,
    "ReassignIncident": reassign_incident.OPERATION,
    "SnoozeIncident": snooze_incident.OPERATION,
    "EscalateIncident": escalate_incident.OPERATION,
    "CreateIncident": create_incident.OPERATION,
}

__all__ = ["REGISTRY", "ActionRun", "Checked", "Operation", "Parameters", "RunOutcome", "Succeeded", "check"]
