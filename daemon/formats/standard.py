"""The format standard: the project's own body, for the headers of Standard Webhooks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson

from daemon import resource
from daemon.formats.format import Format
from daemon.model import Action, Event, EventType
from daemon.triggers import REGISTRY

if TYPE_CHECKING:
    from daemon.model import Json, Message


def body(message: Message) -> bytes:
    """The message as JSON, in the order of keys that the documentation shows."""
    match message.about:
        case Event() as event:
            return _of_event(event, message.trigger)
        case Action() as action:
            return _of_action(action)


def _of_event(event: Event, trigger: str) -> bytes:
    incident = resource.inner(event.payload, "incident")
    data: Json = {
        "event_id": event.id,
        "connection": event.connection,
        "trigger": trigger,
        "operation": REGISTRY[event.type].operation,
        "detected_at": _iso(event.detected_at),
        "detected_by": event.detected_by.value,
        "agent": event.payload.get("agent"),
        "incident": {"id": event.incident_id} | incident | {"assignedUserId": _assigned_user(incident)},
    }
    if event.type is EventType.ASSIGNED:
        data["assignees"] = event.payload.get("assignees") or []
    if event.type is EventType.ANNOTATED:
        data["note"] = event.payload.get("note")
    return orjson.dumps({"type": event.type.value, "timestamp": _iso(event.occurred_at), "data": data})


def _of_action(action: Action) -> bytes:
    """How an action ended: what the API shows of it."""
    finished_at = action.finished_at or action.created_at
    data: Json = {
        "id": action.id,
        "operation": action.operation,
        "connection": action.connection,
        "parameters": action.shown_parameters,
        "state": action.state.value,
        "outcome": None if action.outcome is None else action.outcome.value,
        "result": action.result,
        "error": action.error,
        "created_at": _iso(action.created_at),
        "finished_at": _iso(finished_at),
    }
    return orjson.dumps({"type": f"action.{action.state}", "timestamp": _iso(finished_at), "data": {"action": data}})


def _assigned_user(incident: Json) -> str | None:
    """The connector's assignedUserId: the first of those whom the incident is assigned to."""
    assignments = resource.assignments(incident)
    return resource.text(assignments[0][0], "id") if assignments else None


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


FORMAT = Format(
    content_type="application/json",
    body=body,
    help="JSON of pagerelay's own, signed as Standard Webhooks says",
)
