"""The event type incident.responder.added."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.triggers import responders
from daemon.triggers.event_type import EventType, SimulatedChange, Verb

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.model import Json


def _add(incident: Json, options: Json, now: datetime) -> SimulatedChange:
    responder = {
        "state": "pending",
        "user": options["responder"],
        "requester": incident["last_status_change_by"],
        "message": options["message"],
        "requested_at": now.isoformat(),
        "updated_at": now.isoformat(),
    }
    return SimulatedChange({responders.PART: [*incident[responders.PART], responder]})


TYPE = EventType(
    name="incident.responder.added",
    help="Somebody was asked to help with an incident.",
    phrase="has a new responder",
    in_webhooks_v3=True,
    compare=responders.requested,
    sample=responders.sample("pending"),
    verbs=(Verb("add_responder", None, _add, {"responder": None, "message": "Please help."}, open_only=True),),
)
