"""The operation ResolveIncident."""

from __future__ import annotations

from daemon.actions.change import Change, ChangeParameters
from daemon.actions.operation import Id, Operation, UserId
from daemon.model import IncidentStatus
from daemon.triggers import lenient_json


class ResolveIncident(ChangeParameters):
    """The incident, and the user who resolves it."""

    incidentId: Id  # noqa: N815 - the connector's name
    userId: UserId  # noqa: N815


CHANGE = Change(
    parameters=ResolveIncident,
    fields=lambda _parameters: {"status": "resolved"},
    holds=lambda incident, _parameters, _before: lenient_json.status(incident) is IncidentStatus.RESOLVED,
    resolves=True,
)
OPERATION = Operation(
    name="ResolveIncident",
    help="Resolve an incident.",
    parameters=ResolveIncident,
    result="Incident",
    run=CHANGE.run,
    incident_id=lambda parameters: parameters.incidentId,
    batch_key=lambda parameters: parameters.userId,
    run_batch=CHANGE.run_batch,
)
