"""The lines of ``status`` about what needs attention, in the words of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.cli import terminal
from daemon.model import PAUSED_BY_HAND
from daemon.text import span
from daemon.views import troubles
from daemon.views.health import Health
from daemon.views.troubles import Subject, Trouble

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from daemon.views.overview import Overview
    from daemon.views.target_health import TargetStatus

MOST_TYPES = 5  # that a hint names


def lines(status: Overview) -> Iterable[str]:
    """Yield one line for each thing that needs attention."""
    for trouble in troubles.find(status):
        yield _line(trouble, status.now)


def hints(status: Overview) -> Iterable[str]:
    """Yield one line for each thing that does no harm and is worth knowing."""
    if status.database_warning:
        yield status.database_warning
    for connection in status.connections:
        if (catch_up := connection.catch_up) is not None:
            behind, left = span(connection.lag or 0), span(catch_up.left)
            yield f"{connection.name}: catching up: {catch_up.done:.0%} read, {behind} behind, about {left} left"
        types = connection.unknown_entry_types
        if types:
            names = [f"{each.type} ({each.entries:,})" for each in types[:MOST_TYPES]]
            more = f" and {len(types) - MOST_TYPES} more" if len(types) > MOST_TYPES else ""
            yield f"{connection.name}: unknown log entry types: {', '.join(names)}{more} (please report)"


def of_target(target: TargetStatus, now: datetime) -> str | None:
    """Return why a target gets nothing or accepts nothing, and what to do; None if all is well."""
    trouble = troubles.of_target(target, now)
    return None if trouble is None else _target(trouble, now)


def _line(trouble: Trouble, now: datetime) -> str:
    subject = "connection" if trouble.subject is Subject.ACTIONS else trouble.subject
    match trouble.subject:
        case Subject.DAEMON:
            return _daemon(trouble, now)
        case Subject.CLOCK:
            return trouble.reason or ""
        case Subject.CONNECTION:
            text = _connection(trouble, now)
        case Subject.ACTIONS:
            text = _actions(trouble, now)
        case Subject.ORPHANED_ACTIONS | Subject.ORPHANED_DELIVERIES:
            return _orphaned(trouble)
        case Subject.TARGET:
            text = _target(trouble, now)
        case _:
            text = trouble.reason or ""
    return f"{f'{subject} {trouble.name}'.strip()}: {text}"


def _orphaned(trouble: Trouble) -> str:
    name, count = terminal.plain(trouble.name), f"{trouble.waiting:,}"
    if trouble.subject is Subject.ORPHANED_ACTIONS:
        what = "1 action waits" if trouble.waiting == 1 else f"{count} actions wait"
        remedy = f"configure it again, or: pagerelay actions cancel --connection {name}"
        return f"{what} for the connection {name}, which is not configured ({remedy})"
    what = "1 delivery waits" if trouble.waiting == 1 else f"{count} deliveries wait"
    return f"{what} for the target {name}, which is not configured (configure it again to send them)"


def _daemon(trouble: Trouble, now: datetime) -> str:
    if trouble.since is None:
        return "no daemon is running (start it: pagerelay run)"
    silence = terminal.since(trouble.since, now)
    return f"the daemon on {trouble.name} has recorded nothing for {silence} (see its log, or restart it)"


def _connection(trouble: Trouble, now: datetime) -> str:
    if trouble.health is Health.LATE:
        return f"not polled for {terminal.since(trouble.since, now)}"
    if trouble.health is Health.BLOCKED:
        return f"rate-limited by PagerDuty for another {terminal.until(trouble.until, now)}"
    return f"failing for {terminal.since(trouble.since, now)}: {trouble.reason}"


def _target(trouble: Trouble, now: datetime) -> str:
    resume = f"(resume: pagerelay targets resume {trouble.name})"
    if trouble.health is Health.PAUSED:
        reason = trouble.reason or ""
        paused = reason if reason.startswith("paused") else f"paused: {reason}".removesuffix(": ")
        see = "" if trouble.last_failure is None or reason == PAUSED_BY_HAND else f"; {_see(trouble)}"
        return f"{paused}, for {terminal.since(trouble.since, now)} {resume[:-1]}{see})"
    if trouble.health is Health.BLOCKED:
        return f"backing off for {terminal.until(trouble.until, now)} at the target's request {resume}"
    reason = _reason(trouble)
    if trouble.refusing:
        return f"has rejected every message for {terminal.since(trouble.since, now)}: {reason} ({_see(trouble)})"
    if trouble.since is None:
        counts = f"{trouble.waiting:,} pending, {trouble.dead:,} dead"
        why = f": {reason}" if reason else ""
        return f"nothing accepted yet, {counts}{why} ({_see(trouble)})"
    hints = [] if trouble.until is None else [f"next attempt in {terminal.until(trouble.until, now)}"]
    hints += [] if trouble.last_failure is None else [_see(trouble)]
    hint = f" ({'; '.join(hints)})" if hints else ""
    return f"failing for {terminal.since(trouble.since, now)}: {reason}{hint}"


def _reason(trouble: Trouble) -> str:
    """Return why attempts fail, and what the receiver said about it."""
    said = None if trouble.last_failure is None else trouble.last_failure.answer
    return ": ".join(filter(None, (trouble.reason, f'"{said}"' if said else None)))


def _see(trouble: Trouble) -> str:
    if trouble.last_failure is not None:
        return f"see: pagerelay deliveries show {trouble.last_failure.delivery}"
    return f"see: pagerelay deliveries list --target {trouble.name}"


def _actions(trouble: Trouble, now: datetime) -> str:
    waiting = "1 action queued" if trouble.waiting == 1 else f"{trouble.waiting:,} actions queued, the oldest"
    return f"{waiting} for {terminal.since(trouble.since, now)} (see: pagerelay actions list)"
