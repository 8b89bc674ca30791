"""The operation SnoozeIncident."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from daemon.actions.change import Change, ChangeParameters
from daemon.actions.operation import Id, Operation, UserId
from daemon.pagerduty import writes
from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from daemon.model import Json
    from daemon.pagerduty import Client

LONGEST = 604_800


class SnoozeIncident(ChangeParameters):
    """The incident, the user who snoozes it, and the number of seconds."""

    incidentId: Id  # noqa: N815 - the connector's name
    userId: UserId  # noqa: N815
    duration: Annotated[int, Field(ge=1, le=LONGEST, description="Seconds")]


def _holds(incident: Json, _parameters: SnoozeIncident, before: Json | None) -> bool:
    """Return whether the snooze ends at another time than before."""
    ends = _snooze_ends(incident)
    return bool(ends) and ends != _snooze_ends(before)


def _snooze_ends(incident: Json | None) -> list[str | None]:
    pending = lenient_json.get_objects(incident, "pending_actions")
    return [
        lenient_json.get_text(action, "at")
        for action in pending
        if lenient_json.get_text(action, "type") == "unacknowledge"
    ]


async def _send(client: Client, parameters: SnoozeIncident, sender: str) -> Json:
    return await writes.snooze(client, parameters.incidentId, parameters.duration, sender)


CHANGE = Change(
    parameters=SnoozeIncident,
    fields=lambda _parameters: {},
    holds=_holds,
    reads_first=True,  # comparing with the previous state shows whether the change took effect
    send=_send,
)
OPERATION = Operation(
    name="SnoozeIncident",
    help="Snooze an acknowledged incident for a number of seconds.",
    parameters=SnoozeIncident,
    result="Incident",
    run=CHANGE.run,
    incident_id=lambda parameters: parameters.incidentId,
)
