"""The circuit breaker of a target: how each outcome of an attempt changes its state. Pure.

Closed: everything is sent. Open: the target failed several times in a row, and nothing is sent. Half-open: one
delivery, the probe, is in flight; it closes the circuit if the target accepts it. A pause (by a person, or by a 410)
and a block (by a Retry-After) stop a target in any of the three states.

Time and jitter are arguments. A ``Step`` says what to record for other daemons and what to log.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from daemon.delivery import backoff
from daemon.model import REFUSALS, TargetChange, TargetState

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from daemon.settings import Retry

FAILURES_IN_A_ROW = 3  # open the circuit
REFUSED_IN_A_ROW = 3  # messages, after which the fault is more likely the target's than theirs
SEEN_FAILING = timedelta(minutes=10)  # by this process, before a backlog expires
UNCHANGED = TargetChange()


class BreakerEvent(enum.StrEnum):
    """An event in the life of a target; the value is the name of its log event."""

    FAILING = "target.failing"
    RECOVERED = "target.recovered"
    PAUSED = "target.paused"
    RESUMED = "target.resumed"
    REFUSING = "target.refusing"


@dataclass(frozen=True, slots=True)
class Breaker:
    """A target's state as this process knows it.

    ``failures`` counts those in a row while the circuit is closed; ``probe`` is the delivery that this process probes
    with; ``probing_since`` is when this process saw the first probe fail. ``refused`` are the first deliveries whose
    messages were rejected since the last success, the first of them at ``refused_at``.
    """

    state: TargetState = field(default_factory=TargetState)
    failures: int = 0
    probe: int | None = None
    probing_since: datetime | None = None
    refused: tuple[int, ...] = ()
    refused_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Return whether the target is failing: the circuit is open or half-open."""
        return self.state.failing_since is not None

    @property
    def is_healthy(self) -> bool:
        """Return whether another success changes nothing."""
        state = self.state
        return state.failing_since is None and state.refusing_since is None and not self.failures and not self.refused

    @property
    def is_unrestricted(self) -> bool:
        """Return whether everything may be sent, at any time."""
        state = self.state
        return state.failing_since is None and state.paused_at is None and state.blocked_until is None

    def is_silent(self, now: datetime) -> bool:
        """Return whether the target is paused or blocked and gets nothing, not even a probe."""
        return self.state.paused_at is not None or self.state.is_blocked(now)

    def is_held(self, now: datetime) -> bool:
        """Return whether no claimed delivery is sent, except the probe."""
        return self.is_open or self.is_silent(now)

    def may_send(self, delivery_id: int, now: datetime) -> bool:
        """Return whether this delivery may be sent now."""
        return not self.is_silent(now) and (not self.is_open or delivery_id == self.probe)


@dataclass(frozen=True, slots=True)
class Step:
    """The next state, what of it to record, and what to log."""

    breaker: Breaker
    change: TargetChange = UNCHANGED
    events: tuple[BreakerEvent, ...] = ()


def on_success(breaker: Breaker, now: datetime) -> Step:
    """Close the circuit: the target accepted a delivery. A pause that it requested continues."""
    change = TargetChange(success_at=now)
    if not breaker.is_open and breaker.state.refusing_since is None:
        if breaker.failures or breaker.refused:
            breaker = replace(breaker, failures=0, refused=(), refused_at=None)
        return Step(breaker, change)
    if not breaker.is_open:
        state = replace(breaker.state, refusing_since=None, last_error=None)
        return Step(Breaker(state), replace(change, circuit=state), (BreakerEvent.RECOVERED,))
    state = replace(_closed(breaker.state), last_error=None)
    return Step(Breaker(state), replace(change, circuit=state, recovered=True), (BreakerEvent.RECOVERED,))


def on_failure(
    breaker: Breaker,
    delivery_id: int,
    status: int | None,
    error: str | None,
    now: datetime,
    retry: Retry,
    jitter: float,
) -> Step:
    """Count a failure: the third in a row opens the circuit; a failed probe keeps it open.

    A status that rejects a single message never opens the circuit, or a few such messages would delay all others. A
    delivery that was in flight before the circuit opened, and is not its probe, changes nothing.
    """
    state, failing_since = breaker.state, breaker.state.failing_since
    if failing_since is not None:
        if delivery_id != breaker.probe:
            return Step(breaker)
        probing_since = breaker.probing_since or now
        probes = state.probes + 1
        at = now + backoff.probe_pause(probes, retry, jitter)
        state = replace(state, probes=probes, probe_at=at, last_error=error)
        expire = _expire_before(status, probing_since, failing_since, now, retry)
        change = TargetChange(circuit=state, expire_before=expire)
        return Step(replace(breaker, state=state, probe=None, probing_since=probing_since), change)
    if status in REFUSALS:
        return _refused(breaker, delivery_id, error, now)
    failures = breaker.failures + 1
    if failures < FAILURES_IN_A_ROW:
        return Step(replace(breaker, failures=failures))
    at = now + backoff.probe_pause(0, retry, jitter)
    state = replace(state, failing_since=now, probes=0, probe_at=at, last_error=error)
    return Step(Breaker(state, failures), TargetChange(circuit=state), (BreakerEvent.FAILING,))


def _refused(breaker: Breaker, delivery_id: int, error: str | None, now: datetime) -> Step:
    """Count a rejected message. Several different ones without a success in between are reported, and stop nothing."""
    if breaker.state.refusing_since is not None or delivery_id in breaker.refused:
        return Step(breaker)
    refused, refused_at = (*breaker.refused, delivery_id), breaker.refused_at or now
    breaker = replace(breaker, refused=refused, refused_at=refused_at)
    if len(refused) < REFUSED_IN_A_ROW:
        return Step(breaker)
    state = replace(breaker.state, refusing_since=refused_at, last_error=error)
    change = TargetChange(refusing_since=refused_at, refusal=error or "")
    return Step(replace(breaker, state=state), change, (BreakerEvent.REFUSING,))


def on_retry_after(breaker: Breaker, until: datetime) -> Step:
    """Block the target for as long as it requested: for every daemon, until it is resumed. The longest request wins."""
    last = breaker.state.blocked_until
    state = replace(breaker.state, blocked_until=until if last is None else max(last, until))
    return Step(replace(breaker, state=state), TargetChange(blocked_until=until))


def on_gone(breaker: Breaker, error: str | None, now: datetime) -> Step:
    """Pause the target: it responded 410. An attempt that was in flight when the target was paused changes nothing."""
    if breaker.state.paused_at is not None:
        return Step(breaker)
    state = replace(_closed(breaker.state), last_error=error)
    change = TargetChange(circuit=state, gone_at=now, gone_reason=error or "")
    paused = _paused(Breaker(state), now, error)
    return replace(paused, change=change)


def pause(breaker: Breaker, now: datetime) -> Step:
    """Pause the target: the database says that a person did."""
    return _paused(breaker, now, None)


def lose_probe(breaker: Breaker, delivery_ids: Collection[int], now: datetime) -> Step:
    """Let another probe follow at once if the present one is among these deliveries, which were not sent."""
    if breaker.probe is None or breaker.probe not in delivery_ids:
        return Step(breaker)
    state = replace(breaker.state, probe_at=now)
    return Step(replace(breaker, state=state, probe=None), TargetChange(circuit=state))


def apply_claim(breaker: Breaker, state: TargetState, probe: int | None) -> Step:
    """Take over the database's state; ``probe`` is the delivery that was claimed, if the target is failing."""
    events = []
    was_paused, is_paused = breaker.state.paused_at is not None, state.paused_at is not None
    if was_paused != is_paused:
        events.append(BreakerEvent.PAUSED if is_paused else BreakerEvent.RESUMED)
    if breaker.is_open and state.failing_since is None:
        events.append(BreakerEvent.RECOVERED)
    is_fresh = BreakerEvent.RESUMED in events or BreakerEvent.RECOVERED in events
    is_same = state.failing_since is not None and state.failing_since == breaker.state.failing_since
    was_watched = is_same and BreakerEvent.RESUMED not in events  # nobody looks during a pause
    accepts_again = is_fresh or (breaker.state.refusing_since is not None and state.refusing_since is None)
    known_probe = probe if probe is not None else breaker.probe
    applied = Breaker(
        state=state,
        failures=0 if is_fresh else breaker.failures,
        probe=known_probe if state.failing_since is not None else None,
        probing_since=breaker.probing_since if was_watched else None,
        refused=() if accepts_again else breaker.refused,
        refused_at=None if accepts_again else breaker.refused_at,
    )
    return Step(applied, events=tuple(events))


def _closed(state: TargetState) -> TargetState:
    return replace(state, failing_since=None, probe_at=None, probes=0, refusing_since=None)


def _paused(breaker: Breaker, now: datetime, reason: str | None) -> Step:
    if breaker.state.paused_at is not None:
        return Step(breaker)
    return Step(
        replace(breaker, state=replace(breaker.state, paused_at=now, paused_reason=reason)),
        events=(BreakerEvent.PAUSED,),
    )


def _expire_before(
    status: int | None, probing_since: datetime, failing_since: datetime, now: datetime, retry: Retry
) -> datetime | None:
    """Return the time before which deliveries must have been created to expire: a full horizon of failures ago.

    One probe proves little if it is the first after days without a running daemon: this process must have seen the
    target fail for a while. A status that rejects one message says nothing about others.
    """
    if status in REFUSALS or now - probing_since < min(retry.horizon, SEEN_FAILING):
        return None
    return now - retry.horizon if failing_since <= now - retry.horizon else None
