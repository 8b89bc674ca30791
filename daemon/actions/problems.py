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


def told(error: errors.ActionError) -> Json:
    """An action's own failure, as it is stored and shown."""
    return _problem(error.code, str(error), error.status, error.pagerduty_code)


def refused(error: errors.PagerDutyError) -> Json:
    """A refusal of PagerDuty's, or what stands in the way for the time being."""
    word = WORDS.get(error.code or 0) or STATUS_WORDS.get(error.status or 0) or OTHERWISE
    return _problem(word, str(error), error.status, error.code)


def waiting(error: errors.PagerDutyError) -> Json:
    """Why a try did not work, while there will be others."""
    return _problem("temporary", str(error), error.status, error.code)


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
