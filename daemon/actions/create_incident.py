"""The operation CreateIncident."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from daemon.actions import objects
from daemon.actions.operation import ActionRun, Operation, Parameters, Succeeded
from daemon.model import Outcome
from daemon.pagerduty import lookups, writes
from daemon.triggers import lenient_json

LONGEST_DESCRIPTION = 1024
ServiceKey = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")]


class CreateIncident(Parameters):
    """The integration key of the service, and what is wrong."""

    service_key: ServiceKey
    description: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_DESCRIPTION, pattern=r"\S")]


async def run(given: ActionRun, parameters: CreateIncident) -> Succeeded:
    """Send a trigger event with a key of the action's own, which PagerDuty folds if it comes twice.

    It folds only into an incident that is open. So a repeat looks first: the incident may be
    there, and may have been resolved already.
    """
    key = f"pagerelay-{given.action.id}"
    if given.repeated and await lookups.incidents_by_key(given.client, key):
        return Succeeded(Outcome.DONE, objects.new_incident(key))
    await given.begin({given.action.id: None})
    answer = await writes.trigger(given.client, parameters.service_key, parameters.description, key)
    return Succeeded(Outcome.DONE, objects.new_incident(lenient_json.get_text(answer, "incident_key") or key))


OPERATION = Operation(
    name="CreateIncident",
    help="Open an incident through a service's Events API v1 integration.",
    parameters=CreateIncident,
    result="NewIncident",
    run=run,
    secret=frozenset({"service_key"}),
)
