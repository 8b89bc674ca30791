"""The decision after a failed attempt: a retry, a dead letter, or a pause of the target.

Pure: time and jitter are arguments.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from daemon.settings import Retry

GONE = 410
LONGEST_PROBE = timedelta(minutes=1)
SECONDS = re.compile(r"[0-9]+([.][0-9]*)?|[.][0-9]+")
LEAST_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class RetryAt:
    """The attempt failed; retry at ``at``. The target wants no other request before ``blocked_until``."""

    at: datetime
    blocked_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Dead:
    """The attempt failed, and the horizon has passed."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The target wants no more messages until a person resumes it."""


Decision: TypeAlias = RetryAt | Dead | Gone


def decide(
    status: int | None,
    retry_after: str | None,
    attempts: int,
    begun_at: datetime,
    now: datetime,
    retry: Retry,
    jitter: float,
) -> Decision:
    """Return what follows a failed attempt with this ``status`` (None: no response).

    ``attempts`` counts the attempts made, including this one; ``jitter`` is in [0, 1). The
    pause is ``first`` × ``factor``^(attempts-1), at most ``max``; jitter shortens it to no less
    than half, so that retries do not come all at once. A target's ``Retry-After`` (seconds or
    a date) is honoured up to ``max``. Every failure is retried until ``horizon`` has passed
    since ``begun_at``: a status that looks final, such as 404, often comes from a receiver under
    repair. Only 410 is final.
    """
    if status == GONE:
        return Gone()
    requested = min(requested_pause(retry_after, now), retry.max)
    wait = max(pause(attempts, retry, jitter), requested)
    last = begun_at + retry.horizon
    if now >= last:
        return Dead()
    return RetryAt(min(now + wait, last), min(now + requested, last) if requested > timedelta(0) else None)


def probe_pause(probes: int, retry: Retry, jitter: float) -> timedelta:
    """Return the pause after this many probes of a failing target: at most a minute."""
    return min(pause(probes + 1, retry, jitter), LONGEST_PROBE)


def pause(attempts: int, retry: Retry, jitter: float) -> timedelta:
    """Return the pause after this many attempts, if the target does not request one."""
    longest = retry.max.total_seconds()
    try:
        whole = min(retry.first.total_seconds() * retry.factor ** (attempts - 1), longest)
    except OverflowError:
        whole = longest
    return timedelta(seconds=whole * (LEAST_SHARE + (1 - LEAST_SHARE) * jitter))


def requested_pause(retry_after: str | None, now: datetime) -> timedelta:
    """Return the pause that a ``Retry-After`` header requests: zero if it is missing or invalid."""
    if not retry_after:
        return timedelta(0)
    if SECONDS.fullmatch(retry_after.strip()):
        try:
            return timedelta(seconds=float(retry_after))
        except OverflowError:
            return timedelta.max
    try:
        at = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return timedelta(0)
    return max((at if at.tzinfo else at.replace(tzinfo=UTC)) - now, timedelta(0))
