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
    """The key that the incident's trigger event had."""

    incident_key: Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"\S")]


async def run(given: ActionRun, parameters: GetIncidentByKey) -> Succeeded:
    """The open incident with that key, else the newest one: a key may have had several."""
    found = await lookups.incidents_by_key(given.client, parameters.incident_key)
    if not found:
        message = f"there is no incident with the key {parameters.incident_key}"
        raise errors.ActionError("not_found", message)
    return Succeeded(Outcome.DONE, objects.incident(max(found, key=_rank)))


def _rank(incident: Json) -> tuple[bool, str, int]:
    at, number = lenient_json.get_time(incident, "created_at"), incident.get("incident_number")
    is_open = lenient_json.status(incident) is not IncidentStatus.RESOLVED
    return is_open, at.isoformat() if at else "", number if isinstance(number, int) else 0


OPERATION = Operation(
    name="GetIncidentByKey",
    help="Find an incident by its key: the open one, else the newest.",
    parameters=GetIncidentByKey,
    result="Incident",
    run=run,
)
