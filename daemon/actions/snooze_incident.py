"""The operation SnoozeIncident."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from daemon.actions.change import Change, ChangeParameters
from daemon.actions.operation import Id, Operation
from daemon.pagerduty import writes
from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from daemon.model import Json
    from daemon.pagerduty import Client

LONGEST = 604_800


class SnoozeIncident(ChangeParameters):
    """Which incident, who snoozes it, and for how many seconds."""

    incidentId: Id  # noqa: N815 - the connector's name
    userId: Id  # noqa: N815
    duration: Annotated[int, Field(ge=1, le=LONGEST, description="Seconds")]


def _holds(incident: Json, _parameters: SnoozeIncident, trace: Json | None) -> bool:
    """Whether the incident wakes up at another time than before."""
    wakes = _wakes_at(incident)
    return bool(wakes) and wakes != _wakes_at(trace)


def _wakes_at(incident: Json | None) -> list[str | None]:
    pending = lenient_json.get_objects(incident, "pending_actions")
    return [
        lenient_json.get_text(each, "at") for each in pending if lenient_json.get_text(each, "type") == "unacknowledge"
    ]


async def _send(client: Client, parameters: SnoozeIncident, sender: str) -> Json:
    return await writes.snooze(client, parameters.incidentId, parameters.duration, sender)


CHANGE = Change(
    parameters=SnoozeIncident,
    fields=lambda _parameters: {},
    holds=_holds,
    looks_first=True,  # whether it took effect is told by comparing with what was before
    send=_send,
)
OPERATION = Operation(
    name="SnoozeIncident",
    help="Let an acknowledged incident sleep for some seconds.",
    parameters=SnoozeIncident,
    result="Incident",
    run=CHANGE.run,
    incident_id=lambda parameters: parameters.incidentId,
)
