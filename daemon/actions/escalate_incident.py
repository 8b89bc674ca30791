"""The operation EscalateIncident."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.actions.change import EVIDENCE, Change, ChangeParameters
from daemon.actions.operation import Id, Operation, UserId
from daemon.pagerduty import lookups
from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from daemon.model import Json
    from daemon.pagerduty import Client


class EscalateIncident(ChangeParameters):
    """The incident, the user who escalates it, and the escalation policy."""

    incidentId: Id  # noqa: N815 - the connector's name
    userId: UserId  # noqa: N815
    policyId: Id  # noqa: N815


def _fields(parameters: EscalateIncident) -> Json:
    return {"escalation_policy": {"id": parameters.policyId, "type": "escalation_policy_reference"}}


def _holds(incident: Json, parameters: EscalateIncident, before: Json | None) -> bool:
    """Return whether the incident has this policy, and had another one, other assignments or no such entry before."""
    if _policy(incident) != parameters.policyId:
        return False
    if before is None or _policy(before) != parameters.policyId:
        return True
    if EVIDENCE in before and before[EVIDENCE] != incident.get(EVIDENCE):
        return True
    return lenient_json.assignments(incident) != lenient_json.assignments(before)


async def _last_escalation(client: Client, incident: Json, parameters: EscalateIncident) -> str | None:
    """Return the newest entry about an escalation, if the incident has the policy already.

    Then a second escalation within the same second changes nothing in the incident: its times are whole seconds.
    """
    if _policy(incident) != parameters.policyId:
        return None
    return await lookups.last_entry(client, parameters.incidentId, "escalate_log_entry")


def _policy(incident: Json | None) -> str | None:
    return lenient_json.get_text(lenient_json.get_object(incident, "escalation_policy"), "id")


CHANGE = Change(
    parameters=EscalateIncident,
    fields=_fields,
    holds=_holds,
    evidence=_last_escalation,
    reads_first=True,  # comparing with the previous state shows whether the change took effect
)
OPERATION = Operation(
    name="EscalateIncident",
    help="Assign an incident to the first level of an escalation policy.",
    parameters=EscalateIncident,
    result="Incident",
    run=CHANGE.run,
    incident_id=lambda parameters: parameters.incidentId,
    batch_key=lambda parameters: f"{parameters.userId} {parameters.policyId}",
    run_batch=CHANGE.run_batch,
)
