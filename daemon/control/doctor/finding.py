"""Findings: what a check looked at, how it is, and what to do about it."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

REQUEST_ID = re.compile(r" \[request [^\]]*\]$")


class Status(enum.StrEnum):
    """The severity of a finding."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. ``subject`` names what was checked; ``remedy`` is empty only with ``ok``."""

    name: str
    subject: str
    status: Status
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The results of all checks."""

    checks: tuple[Finding, ...]

    @property
    def has_failed(self) -> bool:
        """Return whether something failed. Warnings do not count."""
        return any(each.status is Status.FAIL for each in self.checks)


@dataclass(frozen=True, slots=True)
class Topic:
    """The common subject of several checks, which creates their findings."""

    name: str

    def ok(self, check: str, found: str) -> Finding:
        """Return the finding that all is well."""
        return Finding(check, self.name, Status.OK, found)

    def warn(self, check: str, found: str, remedy: str) -> Finding:
        """Return a finding that needs attention, but stops nothing."""
        return Finding(check, self.name, Status.WARN, found, remedy)

    def fail(self, check: str, found: str, remedy: str) -> Finding:
        """Return a finding that must be repaired."""
        return Finding(check, self.name, Status.FAIL, found, remedy)

    def fail_with(self, check: str, error: Exception, remedy: str) -> Finding:
        """Return an error as a finding. Its own remedy, in brackets at its end, is better than ``remedy``."""
        found, own = split(str(error))
        return self.fail(check, found, own or remedy)


def split(message: str) -> tuple[str, str]:
    """Return an error message without the remedy in brackets at its end, and the remedy, which may be empty."""
    text = REQUEST_ID.sub("", message)
    if not text.endswith(")"):
        return message, ""
    depth = 0
    for place in range(len(text) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(text[place], 0)
        if not depth:
            break
    else:
        return message, ""
    found, remedy = text[:place].rstrip(), text[place + 1 : -1]
    return (found + message[len(text) :], remedy) if found and " " in remedy else (message, "")
