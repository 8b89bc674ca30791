"""PagerDuty's error responses, with its own codes."""

from __future__ import annotations

from daemon.simulator.http import SimResponse, json_answer


class RefusedError(Exception):
    """A request that PagerDuty rejects."""

    def __init__(self, status: int, code: int, message: str, *details: str) -> None:
        super().__init__(message)
        self.error = {"message": message, "code": code, "errors": list(details)}
        self.answer = json_answer({"error": self.error}, status)


def error(status: int, code: int, message: str, *details: str) -> SimResponse:
    """Return an error response in PagerDuty's form."""
    return RefusedError(status, code, message, *details).answer


def invalid(*details: str) -> RefusedError:
    """Return the error for an invalid request."""
    return RefusedError(400, 2001, "Invalid Input Provided", *details)


def already_resolved() -> RefusedError:
    """Return the error for resolving a resolved incident."""
    return RefusedError(400, 1001, "Incident Already Resolved")


def already_acknowledged() -> RefusedError:
    """Return the error for acknowledging twice."""
    return RefusedError(400, 1002, "Incident Already Acknowledged")


def bad_status(status: object) -> RefusedError:
    """Return the error for an unknown status."""
    return RefusedError(400, 1003, "Invalid Status Provided", f"Status is invalid: {status}")


def data_changed() -> RefusedError:
    """Return the error for a concurrent update."""
    return RefusedError(400, 1005, "Data Updated Since Last Request")


def cannot_escalate(*details: str) -> RefusedError:
    """Return the error for escalating a resolved incident, or to a missing level."""
    return RefusedError(400, 1006, "Incident Cannot Be Escalated", *details)


def no_such_assignee(*details: str) -> RefusedError:
    """Return the error for an assignee who is not in the account."""
    return RefusedError(400, 1007, "Assigned To User Not Found", *details)


def no_requester(code: int) -> RefusedError:
    """Return the error for a write without ``From``."""
    return RefusedError(400, code, 'The "From" header must hold the e-mail address of a user')


def no_such_requester() -> RefusedError:
    """Return the error for an unknown address in ``From``."""
    return RefusedError(400, 1008, "Requester User Not Found")


def cannot_reassign() -> RefusedError:
    """Return the error for reassigning a resolved incident."""
    return RefusedError(400, 1011, "Incident Cannot Be Reassigned")


def not_acknowledged() -> RefusedError:
    """Return the error for snoozing an incident that is not acknowledged."""
    return RefusedError(400, 1012, "Incident Must Be Acknowledged")


def bad_duration() -> RefusedError:
    """Return the error for a snooze that is too short or too long."""
    return RefusedError(400, 1013, "Invalid Snooze Duration")


def no_such_policy() -> RefusedError:
    """Return the error for an unknown escalation policy."""
    return RefusedError(400, 1014, "Escalation Policy Not Found")


def nobody_on_call() -> RefusedError:
    """Return the error for a policy without any user."""
    return RefusedError(400, 1015, "Escalation Policy Has Nobody On Call")


def too_many() -> RefusedError:
    """Return the error for too many updates in one request."""
    return RefusedError(413, 2001, "Request Entity Too Large", "A request takes 250 incidents at most")


def read_only() -> RefusedError:
    """Return the error for a write with a read-only key."""
    return RefusedError(403, 2010, "Access Denied")
