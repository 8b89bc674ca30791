"""Every exception of the daemon, and nothing else.

PagerelayError
├── ConfigurationError       the configuration cannot be used (exit code 2)
├── DatabaseError            the database cannot be used
│   ├── DatabaseUnsuitable   it never can unless somebody changes it (exit code 2)
│   │   ├── SchemaTooNew     a newer version of pagerelay wrote it
│   │   └── PermissionDenied the role lacks a privilege in PostgreSQL
│   └── DatabaseInUse        another daemon holds the SQLite file
├── ConditionError           a trigger's condition is invalid, or fails for a message
├── FormatError              a message cannot be rendered in a target's format
├── ActionError              an action cannot take effect, and retrying would not help
├── LostClaim                an action is no longer claimed by this daemon
├── Conflict                 the state of something does not allow what was requested
│   └── KeyReused            an idempotency key was reused with another request
├── NoAnswer                 a request to a target got no response
│   ├── OutOfResources       this machine could not make the request; the target is not at fault
│   └── NoToken              no access token could be fetched
├── PagerDutyError           a call to PagerDuty failed
│   ├── Temporary            retrying may help, after ``delay``
│   │   ├── Unreachable      no connection could be made
│   │   └── PageTooLarge     a response is too large or took too long; a smaller page may work
│   └── Permanent            retrying never helps
│       └── WindowTooLarge   the time window holds more records than one listing returns
└── UsageError               a command or request is invalid (exit code 2)
    ├── ParameterError       an action's parameters are invalid
    ├── InvalidRequest       parts of a request are invalid
    └── NotFound             what a request names does not exist

Two words decide what happens next: Temporary and Permanent.
A library's exceptions do not leave the module that uses the library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from datetime import timedelta

RequestMistake: TypeAlias = tuple[tuple[str, ...], str]


class PagerelayError(Exception):
    """A failure that pagerelay can explain in one sentence."""


class ConfigurationError(PagerelayError):
    """The configuration cannot be used.

    ``mistakes`` holds one line each: ``file:line: path: what is wrong (remedy)``.
    """

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class UsageError(PagerelayError):
    """A command or a request is invalid."""


class ParameterError(UsageError):
    """An action's parameters are invalid. ``problems`` pairs each name with what is wrong."""

    def __init__(self, operation: str, problems: list[tuple[str, str]]) -> None:
        super().__init__(f"{operation}: " + "; ".join(f"{name} {what}" for name, what in problems))
        self.problems = problems


class InvalidRequest(UsageError):
    """Parts of a request are invalid. ``mistakes`` pairs the path to each part with what is wrong."""

    def __init__(self, mistakes: list[RequestMistake]) -> None:
        super().__init__("; ".join(f"{'.'.join(place)}: {message}" for place, message in mistakes))
        self.mistakes = mistakes


class NotFound(UsageError):
    """The named object does not exist, or no longer exists."""


class ConditionError(PagerelayError):
    """A trigger's condition is invalid, or cannot be evaluated for a message."""


class DatabaseError(PagerelayError):
    """The database is unavailable."""


class DatabaseUnsuitable(DatabaseError):
    """The database is unavailable until somebody fixes it: restarting the daemon does not help."""


class SchemaTooNew(DatabaseUnsuitable):
    """A newer version of pagerelay wrote the database."""


class DatabaseInUse(DatabaseError):
    """Another daemon uses the same SQLite file."""


class PermissionDenied(DatabaseUnsuitable):
    """The role in the database's URL lacks a privilege."""


class ActionError(PagerelayError):
    """An action cannot take effect, and retrying would not help.

    ``code`` is the reason for programs; ``status`` and ``pagerduty_code`` are PagerDuty's.
    """

    def __init__(
        self, code: str, message: str, *, status: int | None = None, pagerduty_code: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.pagerduty_code = pagerduty_code


class LostClaim(PagerelayError):
    """An action is no longer claimed by this daemon, so that it must not continue."""


class Conflict(PagerelayError):
    """The state of something does not allow what was requested."""


class KeyReused(Conflict):
    """An idempotency key was reused with another request."""


class NoAnswer(PagerelayError):
    """A request to a target got no response: not permitted, not connected, or no response in time."""


class OutOfResources(NoAnswer):
    """A request could not be made from this machine, for example because too many files are open."""


class NoToken(NoAnswer):
    """No access token could be fetched.

    ``status`` is the token endpoint's (None: no response), ``code`` its own error code.
    """

    def __init__(self, message: str, *, status: int | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class FormatError(PagerelayError):
    """A message cannot be rendered in a target's format; a template fails, for example."""


class PagerDutyError(PagerelayError):
    """A call to PagerDuty failed.

    ``status`` is the HTTP status (None: no response), ``code`` PagerDuty's own error code, ``request_id`` the
    response's X-Request-Id.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.request_id = request_id


class Temporary(PagerDutyError):
    """Retrying may help: a network fault, 408, 429 or 5xx.

    ``delay`` is how long PagerDuty asked to wait, if it did.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: int | None = None,
        request_id: str | None = None,
        delay: timedelta | None = None,
    ) -> None:
        super().__init__(message, status=status, code=code, request_id=request_id)
        self.delay = delay


class Unreachable(Temporary):
    """No connection to PagerDuty could be made."""


class PageTooLarge(Temporary):
    """A response is larger than the client accepts, or took too long: a smaller page may work."""


class Permanent(PagerDutyError):
    """Retrying never helps: an invalid key, a missing permission, an invalid request."""


class WindowTooLarge(Permanent):
    """The time window holds more records than one listing returns, or takes PagerDuty too long."""
