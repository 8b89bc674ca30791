"""Every exception of the project, and nothing else.

PagerelayError
├── ConfigurationError       the configuration cannot be used (exit code 2)
├── DatabaseError            the database cannot be used
│   ├── SchemaTooNew         it was written by a newer version
│   └── DatabaseInUse        another daemon holds the SQLite file
├── ConditionError           a trigger's condition is none, or cannot be evaluated for a message
├── ActionError              an action cannot take effect, and repeating it would not help
├── KeyReused                an idempotency key came with another request
├── NoAnswer                 a request to a target got no answer
├── PagerDutyError           a call to PagerDuty did not work
│   ├── Temporary            repeating may help, after ``delay``
│   └── Permanent            repeating never helps
│       └── WindowTooLarge   the time window holds more than one listing may return
└── UsageError               a command or request makes no sense (exit code 2)
    └── ParameterError       an action's parameters are not the operation's

Two words decide what happens next: Temporary and Permanent.
A library's exceptions do not leave the module that talks to the library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta


class PagerelayError(Exception):
    """Something that pagerelay can explain in one sentence."""


class ConfigurationError(PagerelayError):
    """The configuration cannot be used.

    ``mistakes`` holds one line each: ``file:line: path: what is wrong (remedy)``.
    """

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class UsageError(PagerelayError):
    """A command or a request makes no sense as it was given."""


class ParameterError(UsageError):
    """An action's parameters are not the operation's. ``problems`` has a name and what is wrong with it, each."""

    def __init__(self, operation: str, problems: list[tuple[str, str]]) -> None:
        super().__init__(f"{operation}: " + "; ".join(f"{name} {what}" for name, what in problems))
        self.problems = problems


class ConditionError(PagerelayError):
    """A trigger's condition is none, or cannot be evaluated for a message."""


class DatabaseError(PagerelayError):
    """The database cannot be used."""


class SchemaTooNew(DatabaseError):
    """The database was written by a newer version of pagerelay."""


class DatabaseInUse(DatabaseError):
    """Another daemon works on the same SQLite file."""


class ActionError(PagerelayError):
    """An action cannot take effect, and repeating it would not help.

    ``code`` is the word by which programs know the reason; ``status`` and ``pagerduty_code`` are PagerDuty's.
    """

    def __init__(
        self, code: str, message: str, *, status: int | None = None, pagerduty_code: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.pagerduty_code = pagerduty_code


class KeyReused(PagerelayError):
    """An idempotency key was given before, with another request."""


class NoAnswer(PagerelayError):
    """A request to a target got no answer: it was not permitted, not connected, or not answered in time."""


class FormatError(PagerelayError):
    """A message cannot be put into a target's format, such as by a template that fails with it."""


class PagerDutyError(PagerelayError):
    """A call to PagerDuty did not work.

    ``status`` is the HTTP status (None: no answer came), ``code`` PagerDuty's own
    error code, ``request_id`` the answer's X-Request-Id.
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
    """Repeating may help: a network fault, 408, 429 or 5xx.

    ``delay`` is how long PagerDuty asked to be left alone, if it said so.
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


class Permanent(PagerDutyError):
    """Repeating never helps: a wrong key, a missing right, a bad request."""


class WindowTooLarge(Permanent):
    """The time window holds more records than one listing may return, or takes PagerDuty too long."""
