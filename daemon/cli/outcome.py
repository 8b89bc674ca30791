"""The result of an action in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.actions.error_codes import remedy
from daemon.cli import terminal
from daemon.model import ActionState, Outcome
from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from daemon.model import Json
    from daemon.views.action_list import ActionItem

WORDS = {
    Outcome.DONE: "done",
    Outcome.ALREADY_DONE: "already done before",
    Outcome.OVERTAKEN: "too late",
}


def line(item: ActionItem) -> str:
    """Return the action's state and its result."""
    return f"{item.operation}: {_text(item)}"


def short(item: ActionItem) -> str:
    """Return what a table shows beside the state, the most important first."""
    if item.error is not None:
        return f"{item.error.code}: {terminal.plain(item.error.message)}"
    return _result(item.result or {}, item)


def _text(item: ActionItem) -> str:
    match item.state:
        case ActionState.SUCCEEDED:
            result = _result(item.result or {}, item)
            return f"{WORDS[item.outcome or Outcome.DONE]}{f': {result}' if result else ''}"
        case ActionState.FAILED:
            return f"failed: {failure(item)}"
        case _:
            retries = f", after {item.tries} attempts: {failure(item)}" if item.error is not None else ""
            return f"{item.state}{retries} ({item.id})"


def failure(item: ActionItem) -> str:
    """Return why it or its last attempt failed, with the error code and the remedy."""
    if item.error is None:
        return ""
    advice = remedy(item.error.code)
    return f"{terminal.plain(item.error.message)} [{item.error.code}]{f': {advice}' if advice else ''}"


def _result(result: Json, item: ActionItem) -> str:
    """Return the connector's object as text; its keys say which object it is."""
    if "status" in result:
        return _incident(result)
    if "email" in result:
        name, email = (terminal.plain(result.get(key)) for key in ("name", "email"))
        return f"{terminal.plain(result.get('id'))} is {name} <{email}>"
    if "note" in result:
        return f"note {terminal.plain(lenient_json.get_object(result, 'note').get('id'))} on {item.incident_id}"
    if "incident_key" in result:
        return f"PagerDuty accepted the event with incident_key {terminal.plain(result['incident_key'])}"
    return ""


def _incident(result: Json) -> str:
    """Return an incident's id, state, assignee and title."""
    assignee = f", assigned to {terminal.plain(result['assignedUserId'])}" if result.get("assignedUserId") else ""
    title = f": {terminal.plain(result['summary'])}" if result.get("summary") else ""
    return f"{terminal.plain(result.get('id'))} is {terminal.plain(result.get('status'))}{assignee}{title}"
