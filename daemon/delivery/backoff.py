"""What follows an attempt: delivered, another try later, dead, or no more tries for now.

Pure: time and jitter are arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeAlias

from daemon.model import SUCCESS

if TYPE_CHECKING:
    from daemon.settings import Retry

GONE = 410
LONGEST_PROBE = timedelta(minutes=1)
LEAST_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Delivered:
    """The target took the message."""


@dataclass(frozen=True, slots=True)
class Again:
    """The target did not take it; try once more at ``at``. It wants no other request before ``silent_until``."""

    at: datetime
    silent_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Dead:
    """The target did not take it, and the next try would come after the horizon."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The target wants nothing any more, until a person says otherwise."""


Decision: TypeAlias = Delivered | Again | Dead | Gone


def decide(
    status: int | None,
    retry_after: str | None,
    attempts: int,
    begun_at: datetime,
    now: datetime,
    retry: Retry,
    jitter: float,
) -> Decision:
    """What follows an attempt that got ``status`` (None: no answer).

    ``attempts`` counts the attempts made, this one included; ``jitter`` is from [0, 1). The
    pause is ``first`` × ``factor``^(attempts-1), ``max`` at most, of which between a half
    and the whole is taken, so that repeats do not come all at once. A target's
    ``Retry-After`` (seconds or a date) is honoured up to ``max``. Only 2xx is success, and
    every failure is repeated until ``horizon`` has passed since ``begun_at``: what looks
    final, such as 404, is often a receiver that is being repaired. Only 410 is taken at its word.
    """
    if status is not None and status in SUCCESS:
        return Delivered()
    if status == GONE:
        return Gone()
    asked = min(asked_pause(retry_after, now), retry.max)
    wait = max(pause(attempts, retry, jitter), asked)
    last = begun_at + retry.horizon
    if now >= last:
        return Dead()
    return Again(min(now + wait, last), min(now + asked, last) if asked > timedelta(0) else None)


def probe_pause(probes: int, retry: Retry, jitter: float) -> timedelta:
    """How long a failing target is left alone after that many probes of it, the longest being a minute."""
    return min(pause(probes + 1, retry, jitter), LONGEST_PROBE)


def pause(attempts: int, retry: Retry, jitter: float) -> timedelta:
    """How long to wait after that many attempts, if the target asks for nothing."""
    longest = retry.max.total_seconds()
    try:
        whole = min(retry.first.total_seconds() * retry.factor ** (attempts - 1), longest)
    except OverflowError:
        whole = longest
    return timedelta(seconds=whole * (LEAST_SHARE + (1 - LEAST_SHARE) * jitter))


def asked_pause(retry_after: str | None, now: datetime) -> timedelta:
    """What a ``Retry-After`` header asks for: zero if there is none, or none that makes sense."""
    if not retry_after:
        return timedelta(0)
    try:
        return max(timedelta(seconds=int(retry_after)), timedelta(0))
    except OverflowError:
        return timedelta.max
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return timedelta(0)
    return max((at if at.tzinfo else at.replace(tzinfo=UTC)) - now, timedelta(0))
