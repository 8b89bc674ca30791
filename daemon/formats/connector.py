"""The format connector: bodies as the triggers of Microsoft's connector return them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from daemon.formats.format import Format
from daemon.model import Batch, Content, Event
from daemon.triggers import REGISTRY, annotated, lenient_json

if TYPE_CHECKING:
    from daemon.model import Json, Message
    from daemon.settings import Options


def content(message: Message, _options: Options) -> Content | None:
    """Return a list of incidents or notes, or None for actions and alerts: the connector has no triggers for those."""
    match message.about:
        case Event() as event:
            events: tuple[Event, ...] = (event,)
        case Batch(events):
            pass
        case _:
            return None
    if message.type == annotated.TYPE.name:
        document: Json = {"notes": [_note(event) for event in events]}
    else:
        document = {"incidents": [_incident(event) for event in events]}
    return Content(orjson.dumps(document), "application/json")


def _note(event: Event) -> Json:
    return {"content": lenient_json.get_text(lenient_json.get_object(event.payload, "note"), "content") or ""}


def _incident(event: Event) -> Json:
    """Return the connector's Incident object, with exactly its properties."""
    incident = lenient_json.get_object(event.payload, "incident")
    return {
        "id": event.incident_id,
        "summary": lenient_json.get_text(incident, "summary"),
        "html_url": lenient_json.get_text(incident, "html_url"),
        "created_at": lenient_json.get_text(incident, "created_at"),
        "status": lenient_json.get_text(incident, "status"),
        "incident_key": lenient_json.get_text(incident, "incident_key"),
        "assignedUserId": lenient_json.assigned_user(incident),
        "last_status_change_at": lenient_json.get_text(incident, "last_status_change_at"),
        "escalation_policy": lenient_json.get_object(incident, "escalation_policy"),
        "urgency": lenient_json.get_text(incident, "urgency"),
    }


FORMAT = Format(
    content=content,
    help="bodies as the triggers of Microsoft's connector return them",
    types=frozenset(REGISTRY),
    options=frozenset({"batch"}),
)
