"""Sample messages for checking templates and testing targets. Pure.

Their ids begin with ``evt_test`` and ``msg_test``, those of their incidents with ``PTEST``. Their texts contain what
templates often fail to escape: quotes, backslashes, line breaks, characters beyond ASCII.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from daemon import triggers
from daemon.model import Action, ActionState, Alert, DetectedBy, Event, IncidentStatus, Message, Outcome
from daemon.text import iso
from daemon.triggers import annotated, assigned, triggered

if TYPE_CHECKING:
    from daemon.model import Json

THEN = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
MARK = "0" * 22
ACTIONS = tuple(f"action.{state}" for state in (ActionState.SUCCEEDED, ActionState.FAILED))
TITLE = 'Test of pagerelay: "disk" at 100 % <db-1> C:\\data & more – é 🔥'
NOTE = 'A note of pagerelay\'s test,\nits second line, and a "quotation".'
DETAILS: Json = {"host": "db-1", "load": 17.2, "runbook": "https://runbooks.example.com/disk", "message": TITLE}
_TARGET: Json = {
    "name": "test",
    "failing_since": "2026-01-01T11:30:00Z",
    "refusing_since": None,
    "last_error": 'answered 500: "out of order"',
    "paused_at": None,
    "paused_reason": None,
    "pending": 3,
    "oldest_pending_at": "2026-01-01T11:29:00Z",
    "dead": 0,
}
_WELL: Json = {"failing_since": None, "last_error": None}
_CONNECTION: Json = {
    "name": "test",
    "failing_since": "2026-01-01T11:30:00Z",
    "last_error": "PagerDuty answered 503",
    "last_success_at": "2026-01-01T11:29:30Z",
    "read_up_to": "2026-01-01T11:29:30Z",
}
ALERTS: dict[str, Json] = {
    "target.failing": _TARGET,
    "target.paused": _TARGET | {"paused_at": "2026-01-01T11:45:00Z", "paused_reason": "answered 410"},
    "target.refusing": _TARGET
    | {"failing_since": None, "refusing_since": "2026-01-01T11:30:00Z", "last_error": "answered 400"},
    "target.recovered": _TARGET | _WELL,
    "connection.failing": _CONNECTION,
    "connection.recovered": _CONNECTION | _WELL,
}


def message(name: str, *, mark: str = MARK, at: datetime = THEN) -> Message:
    """Return a message of this type: an event, the result of an action, or an alert."""
    if name in ACTIONS:
        return action(ActionState(name.removeprefix("action.")), mark=mark, at=at)
    return alert(name, mark=mark, at=at) if name in ALERTS else event(name, mark=mark, at=at)


def event(name: str, *, mark: str = MARK, at: datetime = THEN, connection: str = "test") -> Message:
    """Return an event with every field. ``mark``, 22 characters, makes its id unique."""
    selected, at = triggers.BY_NAME[name], at.replace(microsecond=0)
    whole = triggers.REGISTRY[selected.event_type]
    entry = selected.sample.log_entry_type or min(selected.log_entry_types, default=None)
    user = _reference("PTESTUSER", "user", "Test User")
    about = Event(
        id=f"evt_test{mark}",
        type=whole.name,
        connection=connection,
        incident_id="PTESTINCIDENT",
        occurred_at=at,
        detected_at=at + timedelta(seconds=20),
        detected_by=DetectedBy.LOG_ENTRY if entry else DetectedBy.RECONCILIATION,
        payload={
            "agent": user,
            "incident": _incident(whole.sample.status, at, user),
            "assignees": [user] if whole is assigned.TYPE else None,
            "note": _note(at) if whole is annotated.TYPE else None,
            "changes": whole.sample.changes,
            "details": DETAILS if whole is triggered.TYPE else None,
            "log_entry": {"id": "RTESTENTRY", "type": entry, "channel": "website"} if entry else None,
        },
    )
    return Message(f"msg_test{mark}", "test", name, about)


def bare_event(name: str) -> Message:
    """Return an event with as few fields as PagerDuty may return: no agent, and a reference to the incident."""
    full = event(name)
    incident: Json = _reference("PTESTINCIDENT", "incident", "[#1] Test of pagerelay") | {"priority": None}
    payload: Json = {"agent": None, "incident": incident, "assignees": None, "note": None, "log_entry": None}
    if event_of(full).type == annotated.TYPE.name:
        payload["note"] = _note(THEN) | {"user": None}
    return replace(full, about=replace(event_of(full), payload=payload, detected_by=DetectedBy.RECONCILIATION))


def event_of(message: Message) -> Event:
    """Return the event of a message. Raises TypeError for other messages."""
    if not isinstance(message.about, Event):
        raise TypeError(f"not an event: {message.type}")
    return message.about


def action(state: ActionState = ActionState.SUCCEEDED, *, mark: str = MARK, at: datetime = THEN) -> Message:
    """Return the result of an action that succeeded or failed."""
    failed = state is ActionState.FAILED
    about = Action(
        id=f"act_test{mark}",
        operation="AcknowledgeIncident",
        connection="test",
        parameters={"incidentId": "PTESTINCIDENT", "userId": "PTESTUSER"},
        secret=(),
        incident_id="PTESTINCIDENT",
        notify=(),
        state=state,
        created_at=at,
        outcome=None if failed else Outcome.DONE,
        result=None if failed else {"id": "PTESTINCIDENT", "status": "acknowledged"},
        error={"code": "not_found", "message": 'There is no "incident" of this id', "status": 404} if failed else None,
        finished_at=at + timedelta(seconds=2),
    )
    return Message(f"msg_test{mark}", "", f"action.{state.value}", about)


def alert(kind: str = "target.failing", *, mark: str = MARK, at: datetime = THEN) -> Message:
    """Return one of ``ALERTS``."""
    return Message(f"msg_test{mark}", "", kind, Alert(kind, at, ALERTS[kind]))


def _incident(status: IncidentStatus, at: datetime, user: Json) -> Json:
    then = iso(at)
    resolved = status is IncidentStatus.RESOLVED
    acknowledged = status is IncidentStatus.ACKNOWLEDGED
    return _reference("PTESTINCIDENT", "incident", f"[#1] {TITLE}") | {
        "type": "incident",
        "incident_number": 1,
        "title": TITLE,
        "description": TITLE,
        "status": status.value,
        "urgency": "high",
        "priority": _reference("PTESTPRIORITY", "priority", "P1") | {"name": "P1"},
        "incident_key": "pagerelay-test",
        "service": _reference("PTESTSERVICE", "service", 'Test "service"'),
        "escalation_policy": _reference("PTESTPOLICY", "escalation_policy", "Test policy"),
        "teams": [_reference("PTESTTEAM", "team", "Test team")],
        "created_at": then,
        "updated_at": then,
        "last_status_change_at": then,
        "last_status_change_by": user,
        "resolved_at": then if resolved else None,
        "assignments": [] if resolved else [{"at": then, "assignee": user}],
        "acknowledgements": [{"at": then, "acknowledger": user}] if acknowledged else [],
        "alert_counts": {"all": 1, "triggered": 0 if resolved else 1, "resolved": 1 if resolved else 0},
        "incident_type": {"name": "incident_default"},
        "conference_bridge": None,
        "resolve_reason": None,
    }


def _note(at: datetime) -> Json:
    then = iso(at)
    return {"id": None, "content": NOTE, "user": {"id": "PTESTUSER"}, "created_at": then}


def _reference(identity: str, kind: str, summary: str) -> Json:
    plural = "escalation_policies" if kind == "escalation_policy" else f"{kind}s"
    return {
        "id": identity,
        "type": f"{kind}_reference",
        "summary": summary,
        "self": f"https://api.pagerduty.com/{plural}/{identity}",
        "html_url": f"https://example.pagerduty.com/{plural}/{identity}",
    }
