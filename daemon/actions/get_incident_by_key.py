"""The operation GetIncidentByKey."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import StringConstraints

from daemon import errors
from daemon.actions import objects
from daemon.actions.operation import ActionRun, Operation, Parameters, Succeeded
from daemon.model import IncidentStatus, Outcome
from daemon.pagerduty import lookups
from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from daemon.model import Json


class GetIncidentByKey(Parameters):
    """The key of the incident's trigger event."""

    incident_key: Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"\S")]


async def run(action_run: ActionRun, parameters: GetIncidentByKey) -> Succeeded:
    """Return the open incident with this key, or else the newest one: a key may have had several."""
    incidents = await lookups.incidents_by_key(action_run.client, parameters.incident_key)
    if not incidents:
        message = f"there is no incident with the key {parameters.incident_key}"
        raise errors.ActionError("not_found", message)
    return Succeeded(Outcome.DONE, objects.incident(max(incidents, key=_rank)))


def _rank(incident: Json) -> tuple[bool, str, int]:
    at, number = lenient_json.get_time(incident, "created_at"), incident.get("incident_number")
    is_open = lenient_json.status(incident) is not IncidentStatus.RESOLVED
    return is_open, at.isoformat() if at else "", number if isinstance(number, int) else 0


OPERATION = Operation(
    name="GetIncidentByKey",
    help="Find an incident by its key: the open one, otherwise the newest.",
    parameters=GetIncidentByKey,
    result="Incident",
    run=run,
)
