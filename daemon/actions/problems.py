"""From PagerDuty's refusals to the words by which programs know them. The table is part of docs/actions.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daemon import errors
    from daemon.model import Json

ALREADY_RESOLVED = 1001
ALREADY_ACKNOWLEDGED = 1002
CHANGED_MEANWHILE = 1005
SENDER_NOT_FOUND = 1008
WORDS = {
    ALREADY_RESOLVED: "already_resolved",
    ALREADY_ACKNOWLEDGED: "already_acknowledged",
    1003: "invalid_status",
    CHANGED_MEANWHILE: "changed_meanwhile",
    1006: "cannot_escalate",
    1007: "assignee_not_found",
    SENDER_NOT_FOUND: "user_not_found",
    1011: "cannot_reassign",
    1012: "not_acknowledged",
    1013: "bad_duration",
    1014: "policy_not_found",
    1015: "nobody_on_call",
    1018: "not_authorised",
    2001: "invalid_input",
    2006: "authentication_failed",
    2010: "access_denied",
    2018: "access_lost",
    2100: "not_found",
    5001: "not_found",
}
STATUS_WORDS = {401: "authentication_failed", 402: "not_in_plan", 403: "access_denied", 404: "not_found"}
OTHERWISE = "refused"
GAVE_UP = "gave_up"
TEMPORARY = "temporary"
REMEDIES = {
    "already_resolved": "look at the incident: PagerDuty calls it resolved, and does not show it so",
    "already_acknowledged": "look at the incident: PagerDuty calls it acknowledged, and does not show it so",
    "invalid_status": "look at the incident: its state does not allow this",
    "changed_meanwhile": "do it again: somebody else changed the incident at the same moment",
    "cannot_escalate": "take another escalation policy: this one has nowhere to go",
    "assignee_not_found": "take a user that `pagerelay users` shows",
    "user_not_found": "take a user that `pagerelay users` shows",
    "cannot_reassign": "look at the incident: its state does not allow this",
    "not_acknowledged": "acknowledge the incident first",
    "bad_duration": "give from 1 to 604800 seconds",
    "policy_not_found": "take a policy that `pagerelay policies` shows",
    "nobody_on_call": "take another escalation policy: nobody is on call in this one",
    "not_authorised": "take another user: this one may not do it",
    "invalid_input": "read the message: PagerDuty names what it does not take",
    "authentication_failed": "check the connection's api_key and region",
    "access_denied": "use a key that may write, or that sees this incident",
    "access_lost": "use another key: this one has lost its rights",
    "not_in_plan": "ask PagerDuty: the account's plan does not have this",
    "not_found": "check the id or key, and whether the API key may see it",
    OTHERWISE: "read the message: PagerDuty said no in a way of its own",
    GAVE_UP: "look whether it took effect, then do it again: PagerDuty could not be reached for too long",
    TEMPORARY: "wait: it is tried again by itself",
    "unknown_operation": "update the daemon: it is older than what queued the action",
}


def remedy(code: str) -> str:
    """What somebody can do about an error, in a few words; empty for a code that another version wrote."""
    return REMEDIES.get(code, "")


def told(error: errors.ActionError) -> Json:
    """An action's own failure, as it is stored and shown."""
    return _problem(error.code, str(error), error.status, error.pagerduty_code)


def refused(error: errors.PagerDutyError) -> Json:
    """A refusal of PagerDuty's, or what stands in the way for the time being."""
    word = WORDS.get(error.code or 0) or STATUS_WORDS.get(error.status or 0) or OTHERWISE
    return _problem(word, str(error), error.status, error.code)


def waiting(error: errors.PagerDutyError) -> Json:
    """Why a try did not work, while there will be others."""
    return _problem(TEMPORARY, str(error), error.status, error.code)


def gave_up(error: errors.PagerDutyError, patience: str) -> Json:
    """What did not work for so long that it is no longer tried."""
    return _problem(GAVE_UP, f"given up after {patience}: {error}", error.status, error.code)


def _problem(code: str, message: str, status: int | None, pagerduty_code: int | None) -> Json:
    found: Json = {"code": code, "message": message}
    if status is not None:
        found["status"] = status
    if pagerduty_code is not None:
        found["pagerduty_code"] = pagerduty_code
    return found
