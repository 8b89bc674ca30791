"""The format pagerduty-v3: PagerDuty's own V3 webhooks, so that their receivers work unchanged."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from datetime import UTC
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from daemon import triggers
from daemon.formats.format import Format
from daemon.model import Content, Event, IncidentStatus
from daemon.triggers import (
    annotated,
    assigned,
    conference_bridge_updated,
    lenient_json,
    reopened,
    responder_added,
    responder_replied,
    status_update_published,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from daemon.model import Json, Message
    from daemon.settings import Options

TYPES = frozenset({assigned.TYPE.name, *(name for name, each in triggers.REGISTRY.items() if each.in_webhooks_v3)})
PAGES = {"user": "users", "service": "services"}
NAMESPACE = uuid.UUID("ac844365-29c0-4296-92d7-ee9f1f5fc70e")  # for message ids in PagerDuty's form


def content(message: Message, _options: Options) -> Content | None:
    """Return the envelope, or None for actions, alerts and batches: PagerDuty's webhooks have no such messages."""
    if not isinstance(message.about, Event) or (name := _name(message.about)) is None:
        return None
    body = orjson.dumps({"event": _envelope(message.about, name)})
    return Content(body, "application/json", (("X-Webhook-Id", str(uuid.uuid5(NAMESPACE, message.id))),))


def sends(event: Event) -> bool:
    """Return whether PagerDuty would send an event. The assignment at creation is part of ``incident.triggered``."""
    return _name(event) is not None


def _name(event: Event) -> str | None:
    """Return PagerDuty's event type, or None if its webhooks do not have the event."""
    if event.type == assigned.TYPE.name:
        return triggers.subtype(event)
    return event.type if event.type in TYPES else None


def sign(target: str, body: bytes, secrets: Sequence[str]) -> Mapping[str, str]:
    """Return PagerDuty's signature, whose key is the secret as text, and a subscription id derived from the target."""
    signed = (hmac.digest(secret.encode(), body, "sha256").hex() for secret in secrets)
    return {
        "X-PagerDuty-Signature": ",".join(f"v1={each}" for each in signed),
        "x-webhook-subscription": "P" + hashlib.sha256(target.encode()).hexdigest()[:13].upper(),
    }


def _envelope(event: Event, name: str) -> Json:
    incident = lenient_json.get_object(event.payload, "incident")
    return {
        "id": event.id.removeprefix("evt_").upper(),
        "event_type": name,
        "resource_type": "incident",
        "occurred_at": _milliseconds(event.occurred_at),
        "agent": _agent(lenient_json.get_object(event.payload, "agent"), incident),
        "client": None,
        "data": DATA.get(event.type, _incident)(event, incident),
    }


def _incident(event: Event, incident: Json) -> Json:
    # The status at the time of the event, even if the incident has changed since.
    status = triggers.REGISTRY[event.type].status or lenient_json.status(incident)
    reason = incident.get("resolve_reason")
    kind = lenient_json.get_object(incident, "incident_type")
    return {
        "id": event.incident_id,
        "type": "incident",
        "self": lenient_json.get_text(incident, "self"),
        "html_url": lenient_json.get_text(incident, "html_url"),
        "number": incident.get("incident_number"),
        "status": None if status is None else status.value,
        "incident_key": lenient_json.get_text(incident, "incident_key"),
        "created_at": _seconds(lenient_json.get_time(incident, "created_at")),
        "reopened_at": _seconds(event.occurred_at) if event.type == reopened.TYPE.name else None,
        "title": _title(incident),
        "service": _reference(lenient_json.get_object(incident, "service"), "service"),
        "assignees": [] if status is IncidentStatus.RESOLVED else _assignees(event, incident),
        "escalation_policy": _reference(lenient_json.get_object(incident, "escalation_policy"), "escalation_policy"),
        "teams": [_reference(team, "team") for team in lenient_json.get_objects(incident, "teams")],
        "priority": _reference(lenient_json.get_object(incident, "priority"), "priority"),
        "urgency": lenient_json.get_text(incident, "urgency"),
        "conference_bridge": lenient_json.get_object(incident, "conference_bridge") or None,
        "resolve_reason": reason if isinstance(reason, dict) else None,
        "incident_type": {"name": lenient_json.get_text(kind, "name")} if kind else None,
    }


def _assignees(event: Event, incident: Json) -> list[Any]:
    """Return the incident's assignees, or those of the event if the incident was assigned to others since."""
    now = [assignee for assignee, _ in lenient_json.assignments(incident)]
    event_assignees = lenient_json.get_objects(event.payload, "assignees")
    ids = {assignee["id"] for assignee in now}
    current = all(lenient_json.get_text(assignee, "id") in ids for assignee in event_assignees)
    return [_reference(each, "user") for each in (now if current else event_assignees)]


def _note(event: Event, incident: Json) -> Json:
    """Return a note. PagerDuty's log lacks the note's id: the log entry's id, or else the event's, replaces it."""
    note = lenient_json.get_object(event.payload, "note")
    return {
        "incident": _incident_reference(event, incident),
        "id": lenient_json.get_text(note, "id") or _entry_id(event),
        "content": lenient_json.get_text(note, "content") or "",
        "trimmed": False,
        "type": "incident_note",
    }


def _status_update(event: Event, incident: Json) -> Json:
    """Return a status update, also with the log entry's id instead of its own."""
    return {
        "incident": _incident_reference(event, incident),
        "id": _entry_id(event),
        "message": lenient_json.get_text(_change(event, "status_update"), "message") or "",
        "trimmed": False,
        "type": "incident_status_update",
    }


def _responder(event: Event, incident: Json) -> Json:
    """Return a responder. An incident does not show through which escalation policy somebody was asked."""
    responder = _change(event, "responder")
    return {
        "incident": _incident_reference(event, incident),
        "user": _reference(lenient_json.get_object(responder, "user"), "user"),
        "escalation_policy": None,
        "message": lenient_json.get_text(responder, "message"),
        "state": lenient_json.get_text(responder, "state"),
        "type": "incident_responder",
    }


def _conference_bridge(event: Event, incident: Json) -> Json:
    bridge = lenient_json.get_object(_change(event, "conference_bridge"), "to")
    number = lenient_json.get_text(bridge, "conference_number")
    return {
        "incident": _incident_reference(event, incident),
        "conference_numbers": [{"label": "", "number": number}] if number else [],
        "conference_url": lenient_json.get_text(bridge, "conference_url"),
        "type": "incident_conference_bridge",
    }


def _change(event: Event, name: str) -> Json:
    return lenient_json.get_object(event.payload.get("changes"), name)


def _entry_id(event: Event) -> str:
    """Return the id of the event's log entry, or else its own."""
    return lenient_json.get_text(lenient_json.get_object(event.payload, "log_entry"), "id") or event.id


def _incident_reference(event: Event, incident: Json) -> Json:
    return {
        "id": event.incident_id,
        "type": "incident_reference",
        "self": lenient_json.get_text(incident, "self"),
        "html_url": lenient_json.get_text(incident, "html_url"),
        "summary": _title(incident),
    }


def _title(incident: Json) -> str | None:
    """Return the title. A mere reference has it in its summary, after the number."""
    summary = lenient_json.get_text(incident, "summary")
    number, _, rest = (summary or "").partition("] ")
    return lenient_json.get_text(incident, "title") or (rest if number.startswith("[#") and rest else summary)


def _agent(agent: Json, incident: Json) -> Json | None:
    """Return the agent. Receivers rely on ``summary`` and ``html_url``, so both are filled in if possible."""
    reference = _reference(agent, "user")
    if reference is None:
        return None
    kind = reference["type"].removesuffix("_reference")
    account = _account(incident)
    if reference["html_url"] is None and account and kind in PAGES:
        reference["html_url"] = f"{account}/{PAGES[kind]}/{reference['id']}"
    reference["summary"] = reference["summary"] or reference["id"]
    return reference


def _account(incident: Json) -> str | None:
    """Return the web origin of the incident's account, if known."""
    try:
        place = urlsplit(lenient_json.get_text(incident, "html_url") or "")
    except ValueError:  # an invalid URL
        return None
    return f"{place.scheme}://{place.netloc}" if place.hostname else None


def _reference(thing: Json, kind: str) -> Json | None:
    """Return a resource as a reference, as webhooks contain it."""
    identity = lenient_json.get_text(thing, "id")
    if identity is None:
        return None
    return {
        "id": identity,
        "type": (lenient_json.get_text(thing, "type") or kind).removesuffix("_reference") + "_reference",
        "self": lenient_json.get_text(thing, "self"),
        "html_url": lenient_json.get_text(thing, "html_url"),
        "summary": lenient_json.get_text(thing, "summary") or lenient_json.get_text(thing, "name"),
    }


def _milliseconds(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _seconds(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds").replace("+00:00", "Z")


# What PagerDuty sends as data, where that is not the incident.
DATA: Mapping[str, Callable[[Event, Json], Json]] = {
    annotated.TYPE.name: _note,
    status_update_published.TYPE.name: _status_update,
    responder_added.TYPE.name: _responder,
    responder_replied.TYPE.name: _responder,
    conference_bridge_updated.TYPE.name: _conference_bridge,
}

FORMAT = Format(
    content=content,
    help="PagerDuty's own V3 webhooks, with their signature",
    types=TYPES,
    sends=sends,
    sign=sign,
)
