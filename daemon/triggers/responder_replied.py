"""The event type incident.responder.replied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.triggers import responders
from daemon.triggers.event_type import EventType, SimulatedChange, Verb

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.model import Json


def _reply(incident: Json, options: Json, now: datetime) -> SimulatedChange:
    """Answer the newest request."""
    *others, newest = incident[responders.PART] or [{}]
    if not newest:
        raise ValueError("nobody was asked to help: add_responder first")
    answer = {"state": options["state"], "updated_at": now.isoformat()}
    return SimulatedChange({responders.PART: [*others, newest | answer]})


TYPE = EventType(
    name="incident.responder.replied",
    help="Somebody who was asked to help with an incident joined or declined.",
    phrase="has a reply from a responder",
    in_webhooks_v3=True,
    compare=responders.answered,
    sample=responders.sample("joined"),
    verbs=(Verb("reply", None, _reply, {"state": "joined"}),),
)
