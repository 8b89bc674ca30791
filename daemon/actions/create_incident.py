"""The operation CreateIncident."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from daemon import errors
from daemon.actions import objects
from daemon.actions.operation import ActionRun, Operation, Parameters, Succeeded
from daemon.model import Outcome
from daemon.pagerduty import lookups, writes
from daemon.triggers import lenient_json

LONGEST_DESCRIPTION = 1024
LOOKS = 6  # runs, a minute in all, after which the event is sent without knowing whether it had arrived
ServiceKey = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")]


class CreateIncident(Parameters):
    """The integration key of the service, and the description."""

    service_key: ServiceKey
    description: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_DESCRIPTION, pattern=r"\S")]


async def run(action_run: ActionRun, parameters: CreateIncident) -> Succeeded:
    """Send a trigger event with a key of its own, so that PagerDuty deduplicates a repeated event.

    PagerDuty deduplicates only while the incident is open. So a repeated run looks for the incident first, which may
    have been resolved already. If the REST API stays unavailable, the event is sent all the same: nobody knows whether
    the first one arrived, and a second page is better than none.
    """
    key = f"pagerelay-{action_run.action.id}"
    if action_run.repeated and await _exists(action_run, key):
        return Succeeded(Outcome.DONE, objects.new_incident(key))
    await action_run.begin({action_run.action.id: None})
    event = await writes.trigger(action_run.client, parameters.service_key, parameters.description, key)
    return Succeeded(Outcome.DONE, objects.new_incident(lenient_json.get_text(event, "incident_key") or key))


async def _exists(action_run: ActionRun, key: str) -> bool:
    """Return whether the incident is there. Raises Temporary for the first ``LOOKS`` runs that cannot find out."""
    try:
        return bool(await lookups.incidents_by_key(action_run.client, key))
    except errors.Temporary:
        if action_run.action.runs <= LOOKS:
            raise
        return False


OPERATION = Operation(
    name="CreateIncident",
    help="Open an incident through a service's Events API v1 integration.",
    parameters=CreateIncident,
    result="NewIncident",
    run=run,
    secret=frozenset({"service_key"}),
)
