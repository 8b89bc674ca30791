"""What the daemons have recorded about each target: whether it fails now, since when and why, or is paused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon import errors
from daemon.control.doctor import database as database_checks
from daemon.control.doctor.finding import Topic
from daemon.model import PAUSED_BY_HAND
from daemon.text import iso, quoted, span
from daemon.views import target_health, troubles
from daemon.views.health import Health

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import sqlalchemy as sa

    from daemon.control.doctor.examination import Examination
    from daemon.control.doctor.finding import Finding
    from daemon.settings import Target
    from daemon.views.target_health import TargetStatus
    from daemon.views.troubles import Trouble

NAME = "target.deliveries"


async def read(examination: Examination) -> dict[str, Finding]:
    """Return the recorded state of each target that was ever tried, by its name; nothing without a database."""
    database, targets = examination.database, examination.settings.targets
    if not targets or not await database_checks.is_usable(database):
        return {}
    try:
        return await database.read(lambda tx: _findings(tx, targets, database.now(tx)))
    except errors.DatabaseError:
        return {}  # which is a finding about the database


def _findings(tx: sa.Connection, targets: Mapping[str, Target], now: datetime) -> dict[str, Finding]:
    statuses = target_health.read(tx, targets, now)
    findings = {}
    for status in statuses:
        trouble = troubles.of_target(status, now)
        if trouble is not None:
            findings[status.name] = _finding(trouble, now)
        elif status.health is Health.OK:
            findings[status.name] = Topic(status.name).ok(NAME, _accepted(status, now))
    return findings


def _accepted(status: TargetStatus, now: datetime) -> str:
    """Return when a target took the last message."""
    assert status.last_success_at is not None  # noqa: S101 - for the type checker: its health is OK
    return f"the last message was accepted {span((now - status.last_success_at).total_seconds())} ago"


def _words(trouble: Trouble) -> str:
    """Return why a target fails, with the beginning of the receiver's answer."""
    answer = None if trouble.last_failure is None else trouble.last_failure.answer
    return ": ".join(filter(None, (trouble.reason, quoted(answer) if answer else None)))


def _finding(trouble: Trouble, now: datetime) -> Finding:
    """Return a target's trouble as a finding: that it fails is a failure, that it is paused a warning."""
    topic, name = Topic(trouble.name), trouble.name
    since = "" if trouble.since is None else f" for {span((now - trouble.since).total_seconds())}"
    since += "" if trouble.since is None else f", since {iso(trouble.since.replace(microsecond=0))}"
    counts = f"{trouble.waiting:,} pending" + (f", {trouble.dead:,} dead" if trouble.dead else "")
    resume, look = f"pagerelay targets resume {name}", f"pagerelay deliveries list --target {name}"
    match trouble.health:
        case Health.PAUSED:
            by_hand = trouble.reason in {None, "", PAUSED_BY_HAND}
            paused = PAUSED_BY_HAND if by_hand else f"paused: {trouble.reason}"
            return topic.warn(NAME, f"{paused}{since}; {counts}", f"resume it: {resume}")
        case Health.BLOCKED:
            end = "" if trouble.until is None else f" for another {span((trouble.until - now).total_seconds())}"
            found = f"backing off{end} at the target's request; {counts}"
            return topic.warn(NAME, found, f"wait, or resume it: {resume}")
    words = _words(trouble)
    why = f": {words}" if words else ""
    if trouble.refusing:
        return topic.fail(NAME, f"has rejected every message{since}{why}; {counts}", f"see what was sent: {look}")
    if trouble.since is None:
        return topic.fail(NAME, f"nothing accepted yet{why}; {counts}", f"see what was sent: {look}")
    remedy = f"repair the receiver; pagerelay goes on trying, at once with: {resume}"
    return topic.fail(NAME, f"failing{since}{why}; {counts}", remedy)
