"""Error codes of actions, with their remedies. docs/actions.md has the same table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daemon import errors
    from daemon.model import Json

ALREADY_RESOLVED = 1001
ALREADY_ACKNOWLEDGED = 1002
CHANGED_MEANWHILE = 1005
SENDER_NOT_FOUND = 1008
CODES = {
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
STATUS_CODES = {401: "authentication_failed", 402: "not_in_plan", 403: "access_denied", 404: "not_found"}
OTHERWISE = "refused"
GAVE_UP = "gave_up"
CANCELLED = "cancelled"
TEMPORARY = "temporary"
REMEDIES = {
    "already_resolved": "check the incident: PagerDuty says it is resolved, but shows another state",
    "already_acknowledged": "check the incident: PagerDuty says it is acknowledged, but shows another state",
    "invalid_status": "check the incident: its state does not allow this",
    "changed_meanwhile": "retry: somebody else changed the incident at the same time",
    "cannot_escalate": "use another escalation policy: this one has no further level",
    "assignee_not_found": "use one of the users listed by `pagerelay users`",
    "user_not_found": "use one of the users listed by `pagerelay users`",
    "cannot_reassign": "check the incident: its state does not allow this",
    "not_acknowledged": "acknowledge the incident first",
    "bad_duration": "use a duration from 1 to 604800 seconds",
    "policy_not_found": "use one of the policies listed by `pagerelay policies`",
    "nobody_on_call": "use another escalation policy: nobody is on call in this one",
    "not_authorised": "use another user: this one is not allowed to do this",
    "invalid_input": "read the message: PagerDuty names the invalid input",
    "authentication_failed": "check the connection's api_key or oauth, and its region",
    "access_denied": "use a key with write access, or one that can see this incident",
    "access_lost": "use another key: this one has lost access",
    "not_in_plan": "ask PagerDuty: the account's plan does not include this",
    "not_found": "check the id or key, and whether the API key can see it",
    CANCELLED: "request it again if it is still needed; `pagerelay actions cancel` ended it",
    OTHERWISE: "read the message: PagerDuty rejected the request",
    GAVE_UP: "check whether it took effect, then retry: PagerDuty was unreachable for too long",
    TEMPORARY: "wait: it is retried automatically",
    "unknown_operation": "update the daemon: it is older than the program that queued the action",
}


def remedy(code: str) -> str:
    """Return the remedy for an error code; empty for a code of another version."""
    return REMEDIES.get(code, "")


def as_error(error: errors.ActionError) -> Json:
    """Return an action's own failure as it is stored and shown."""
    return _error(error.code, str(error), error.status, error.pagerduty_code)


def of_refusal(error: errors.PagerDutyError) -> Json:
    """Return the error for a rejection by PagerDuty."""
    code = CODES.get(error.code or 0) or STATUS_CODES.get(error.status or 0) or OTHERWISE
    return _error(code, str(error), error.status, error.code)


def while_retrying(error: errors.PagerDutyError) -> Json:
    """Return the error of a failed run that will be retried."""
    return _error(TEMPORARY, str(error), error.status, error.code)


def gave_up(error: errors.PagerDutyError, patience: str) -> Json:
    """Return the error of an action that is no longer retried."""
    return _error(GAVE_UP, f"gave up after {patience}: {error}", error.status, error.code)


def _error(code: str, message: str, status: int | None, pagerduty_code: int | None) -> Json:
    document: Json = {"code": code, "message": message}
    if status is not None:
        document["status"] = status
    if pagerduty_code is not None:
        document["pagerduty_code"] = pagerduty_code
    return document
