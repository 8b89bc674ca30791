"""The operation AcknowledgeIncident."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.actions.change import Change, ChangeParameters
from daemon.actions.operation import Id, Operation, UserId
from daemon.model import IncidentStatus
from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from daemon.model import Json


class AcknowledgeIncident(ChangeParameters):
    """The incident, and the user who acknowledges it."""

    incidentId: Id  # noqa: N815 - the connector's name
    userId: UserId  # noqa: N815


def _holds(incident: Json, parameters: AcknowledgeIncident, _before: Json | None) -> bool:
    """Return whether the incident is acknowledged by this user."""
    user_ids = [
        lenient_json.get_text(lenient_json.get_object(acknowledgement, "acknowledger"), "id")
        for acknowledgement in _acknowledgements(incident)
    ]
    return lenient_json.status(incident) is IncidentStatus.ACKNOWLEDGED and parameters.userId in user_ids


def _acknowledgements(incident: Json) -> list[Json]:
    return lenient_json.get_objects(incident, "acknowledgements")


CHANGE = Change(
    parameters=AcknowledgeIncident,
    fields=lambda _parameters: {"status": "acknowledged"},
    holds=_holds,
    reads_first=True,  # acknowledging a resolved incident would reopen it
)
OPERATION = Operation(
    name="AcknowledgeIncident",
    help="Acknowledge an incident. A resolved incident stays resolved.",
    parameters=AcknowledgeIncident,
    result="Incident",
    run=CHANGE.run,
    incident_id=lambda parameters: parameters.incidentId,
    batch_key=lambda parameters: parameters.userId,
    run_batch=CHANGE.run_batch,
)
