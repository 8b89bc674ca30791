"""What came of an action, in one line for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.actions.problems import remedy
from daemon.cli import show as terminal
from daemon.model import ActionState, Outcome
from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from daemon.model import Json
    from daemon.views.action_list import ActionItem

WORDS = {
    Outcome.DONE: "done",
    Outcome.ALREADY_DONE: "done already, before this",
    Outcome.OVERTAKEN: "too late",
}


def line(item: ActionItem) -> str:
    """Where the action stands, and what that means."""
    return f"{item.operation}: {_said(item)}"


def short(item: ActionItem) -> str:
    """What is to be said beside the state, the most important first."""
    if item.error is not None:
        return f"{item.error.code}: {terminal.plain(item.error.message)}"
    return _result(item.result or {}, item)


def _said(item: ActionItem) -> str:
    match item.state:
        case ActionState.SUCCEEDED:
            result = _result(item.result or {}, item)
            return f"{WORDS[item.outcome or Outcome.DONE]}{f': {result}' if result else ''}"
        case ActionState.FAILED:
            return f"failed: {failure(item)}"
        case _:
            tried = f", after {item.tries} tries: {failure(item)}" if item.error is not None else ""
            return f"{item.state}{tried} ({item.id})"


def failure(item: ActionItem) -> str:
    """Why it failed, or its last try did, with the word for programs and what can be done."""
    if item.error is None:
        return ""
    advice = remedy(item.error.code)
    return f"{terminal.plain(item.error.message)} [{item.error.code}]{f': {advice}' if advice else ''}"


def _result(result: Json, item: ActionItem) -> str:
    """The connector's object, told by what it has."""
    if "status" in result:
        return incident(result)
    if "email" in result:
        name, email = (terminal.plain(result.get(key)) for key in ("name", "email"))
        return f"{terminal.plain(result.get('id'))} is {name} <{email}>"
    if "note" in result:
        return f"note {terminal.plain(lenient_json.get_object(result, 'note').get('id'))} on {item.incident_id}"
    if "incident_key" in result:
        return f"PagerDuty took the event, with the incident_key {terminal.plain(result['incident_key'])}"
    return ""


def incident(found: Json) -> str:
    """An incident: which, its state, whose, its title."""
    whose = f", assigned to {terminal.plain(found['assignedUserId'])}" if found.get("assignedUserId") else ""
    title = f": {terminal.plain(found['summary'])}" if found.get("summary") else ""
    return f"{terminal.plain(found.get('id'))} is {terminal.plain(found.get('status'))}{whose}{title}"
