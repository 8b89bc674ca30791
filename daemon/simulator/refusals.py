"""Requests that PagerDuty does not take, and how it says so. The codes are its own."""

from __future__ import annotations

from daemon.simulator.http import Answer, json_answer


class RefusedError(Exception):
    """A request that PagerDuty does not take."""

    def __init__(self, status: int, code: int, message: str, *details: str) -> None:
        super().__init__(message)
        self.error = {"message": message, "code": code, "errors": list(details)}
        self.answer = json_answer({"error": self.error}, status)


def error(status: int, code: int, message: str, *details: str) -> Answer:
    """An error as PagerDuty writes it."""
    return RefusedError(status, code, message, *details).answer


def invalid(*details: str) -> RefusedError:
    """Something in the request that is not as it should be."""
    return RefusedError(400, 2001, "Invalid Input Provided", *details)


def already_resolved() -> RefusedError:
    """Resolving what is resolved."""
    return RefusedError(400, 1001, "Incident Already Resolved")


def already_acknowledged() -> RefusedError:
    """Acknowledging twice."""
    return RefusedError(400, 1002, "Incident Already Acknowledged")


def bad_status(given: object) -> RefusedError:
    """A status that is none."""
    return RefusedError(400, 1003, "Invalid Status Provided", f"Status is invalid: {given}")


def data_changed() -> RefusedError:
    """An update that met another one."""
    return RefusedError(400, 1005, "Data Updated Since Last Request")


def cannot_escalate(*details: str) -> RefusedError:
    """An incident that is resolved, or a level that its policy does not have."""
    return RefusedError(400, 1006, "Incident Cannot Be Escalated", *details)


def no_such_assignee(*details: str) -> RefusedError:
    """Somebody who is not in the account."""
    return RefusedError(400, 1007, "Assigned To User Not Found", *details)


def no_requester(code: int) -> RefusedError:
    """A write without ``From``."""
    return RefusedError(400, code, 'The "From" header must hold the e-mail address of a user')


def no_such_requester() -> RefusedError:
    """A ``From`` that is nobody's address."""
    return RefusedError(400, 1008, "Requester User Not Found")


def cannot_reassign() -> RefusedError:
    """An incident that is resolved."""
    return RefusedError(400, 1011, "Incident Cannot Be Reassigned")


def not_acknowledged() -> RefusedError:
    """Only what is acknowledged can sleep."""
    return RefusedError(400, 1012, "Incident Must Be Acknowledged")


def bad_duration() -> RefusedError:
    """A sleep that is too short or too long."""
    return RefusedError(400, 1013, "Invalid Snooze Duration")


def no_such_policy() -> RefusedError:
    """An escalation policy that is not in the account."""
    return RefusedError(400, 1014, "Escalation Policy Not Found")


def nobody_on_call() -> RefusedError:
    """A policy that names nobody at any level."""
    return RefusedError(400, 1015, "Escalation Policy Has Nobody On Call")


def too_many() -> RefusedError:
    """More updates than one request takes."""
    return RefusedError(413, 2001, "Request Entity Too Large", "A request takes 250 incidents at most")


def read_only() -> RefusedError:
    """A write with a key that may only read."""
    return RefusedError(403, 2010, "Access Denied")
