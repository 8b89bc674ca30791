"""The format standard: pagerelay's own body, with the headers of Standard Webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from daemon.formats.format import Format
from daemon.model import Action, Alert, Batch, Content, Event
from daemon.text import iso
from daemon.triggers import REGISTRY, annotated, assigned, lenient_json, triggered

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.model import Json, Message
    from daemon.settings import Options


def content(message: Message, _options: Options) -> Content | None:
    """Return the message as JSON, or None for a batch."""
    return None if isinstance(message.about, Batch) else Content(body(message), "application/json")


def body(message: Message) -> bytes:
    """Return ``document`` as JSON."""
    return orjson.dumps(document(message))


def document(message: Message) -> Json:
    """Return the message's document, with the keys in the documented order. Raises ValueError for a batch."""
    at, data = _time_and_data(message)
    return {"type": message.type, "timestamp": iso(at), "data": data}


def readdressed(event_document: Json, kind: str, trigger: str) -> Json:
    """Return the document of an event as another trigger would send it."""
    return {**event_document, "type": kind, "data": {**event_document["data"], "trigger": trigger}}


def _time_and_data(message: Message) -> tuple[datetime, Json]:
    match message.about:
        case Event() as event:
            return event.occurred_at, _of_event(event, message.trigger)
        case Action() as action:
            return action.finished_at or action.created_at, {"action": _of_action(action)}
        case Alert() as alert:
            return alert.at, alert.data
        case Batch():
            raise ValueError("a batch has no document")


def _of_event(event: Event, trigger: str) -> Json:
    incident = lenient_json.get_object(event.payload, "incident")
    data: Json = {
        "event_id": event.id,
        "connection": event.connection,
        "trigger": trigger,
        "operation": REGISTRY[event.type].operation,
        "detected_at": iso(event.detected_at),
        "detected_by": event.detected_by.value,
        "agent": event.payload.get("agent"),
        "incident": {"id": event.incident_id} | incident | {"assignedUserId": lenient_json.assigned_user(incident)},
    }
    if event.type == assigned.TYPE.name:
        data["assignees"] = event.payload.get("assignees") or []
    if event.type == annotated.TYPE.name:
        data["note"] = event.payload.get("note")
    if event.type == triggered.TYPE.name:
        data["details"] = event.payload.get("details")
    if event.payload.get("changes") is not None:
        data["changes"] = event.payload["changes"]
    return data


def _of_action(action: Action) -> Json:
    """Return the result of an action, with the same fields as in the API."""
    return {
        "id": action.id,
        "operation": action.operation,
        "connection": action.connection,
        "parameters": action.shown_parameters,
        "state": action.state.value,
        "outcome": None if action.outcome is None else action.outcome.value,
        "result": action.result,
        "error": action.error,
        "created_at": iso(action.created_at),
        "finished_at": iso(action.finished_at or action.created_at),
    }


FORMAT = Format(
    content=content,
    help="pagerelay's own JSON, signed according to Standard Webhooks",
)
