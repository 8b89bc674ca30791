"""The operation ReassignIncident."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.actions.change import Change, ChangeParameters
from daemon.actions.operation import Id, Operation, UserId
from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from daemon.model import Json


class ReassignIncident(ChangeParameters):
    """The incident, the user who reassigns it, and the new assignee."""

    incidentId: Id  # noqa: N815 - the connector's name
    userId: UserId  # noqa: N815
    reassignUserId: UserId  # noqa: N815


def _fields(parameters: ReassignIncident) -> Json:
    return {"assignments": [{"assignee": {"id": parameters.reassignUserId, "type": "user_reference"}}]}


def _holds(incident: Json, parameters: ReassignIncident, _before: Json | None) -> bool:
    """Return whether the incident is assigned to this user only."""
    return [assignee["id"] for assignee, _ in lenient_json.assignments(incident)] == [parameters.reassignUserId]


CHANGE = Change(
    parameters=ReassignIncident,
    fields=_fields,
    holds=_holds,
    reads_first=True,  # a resolved incident has no assignee
)
OPERATION = Operation(
    name="ReassignIncident",
    help="Assign an incident to another user.",
    parameters=ReassignIncident,
    result="Incident",
    run=CHANGE.run,
    incident_id=lambda parameters: parameters.incidentId,
    batch_key=lambda parameters: f"{parameters.userId} {parameters.reassignUserId}",
    run_batch=CHANGE.run_batch,
)
