"""A target's circuit breaker in this process: its current state, and the part that is not recorded yet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from daemon.delivery import breaker
from daemon.delivery.breaker import UNCHANGED, Breaker, BreakerEvent, Step
from daemon.model import TargetChange

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.model import TargetState

log = structlog.get_logger()

SUCCESS_SECONDS = 1.0  # between two records of the time of the last success


@dataclass(frozen=True, slots=True)
class Unsaved:
    """Changes that are not recorded yet. ``version`` counts the urgent changes whose saving has begun."""

    change: TargetChange = UNCHANGED
    is_saving: bool = False
    version: int = 0
    known_failing_since: datetime | None = None  # as last read or recorded

    @property
    def is_settled(self) -> bool:
        """Return whether everything that other daemons need is recorded."""
        return not self.change.is_urgent and not self.is_saving

    def add(self, change: TargetChange) -> Unsaved:
        """Add a change."""
        return replace(self, change=_merge(self.change, change))

    def begin(self) -> tuple[Unsaved, TargetChange]:
        """Return the change to save now, with the state it builds on."""
        urgent = self.change.is_urgent
        change = replace(self.change, known_failing_since=self.known_failing_since)
        return replace(self, change=UNCHANGED, is_saving=urgent, version=self.version + urgent), change

    def saved(self, change: TargetChange, *, overtaken: bool) -> Unsaved:
        """Return what is left after ``change`` was saved, or ``overtaken`` by another daemon's record."""
        known = self.known_failing_since
        if change.circuit is not None and not overtaken:
            known = change.circuit.failing_since
        return replace(self, is_saving=False, known_failing_since=known)

    def failed(self, change: TargetChange) -> Unsaved:
        """Return the state with a change that could not be saved added again."""
        return replace(self, change=_merge(change, self.change), is_saving=False)


def _merge(old: TargetChange, new: TargetChange) -> TargetChange:
    if old == UNCHANGED:
        return new
    circuit = new.circuit or old.circuit
    is_open = circuit is not None and circuit.failing_since is not None
    pauses = [each.blocked_until for each in (old, new) if each.blocked_until is not None]
    gone = old if old.gone_at is not None else new
    return TargetChange(
        success_at=new.success_at or old.success_at,
        circuit=circuit,
        blocked_until=max(pauses, default=None),
        gone_at=gone.gone_at,
        gone_reason=gone.gone_reason,
        recovered=(old.recovered or new.recovered) and not is_open,
        expire_before=(new.expire_before or old.expire_before) if is_open else None,
        refusing_since=new.refusing_since or (None if new.success_at else old.refusing_since),
        refusal=new.refusal or (None if new.success_at else old.refusal),
    )


class Circuit:
    """Applies steps of the breaker to the target ``name``, and logs them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._breaker = Breaker()
        self._unsaved = Unsaved()
        self._success_at: datetime | None = None  # if later than any other unsaved change
        self._saved_at = 0.0  # by the monotonic clock

    @property
    def breaker(self) -> Breaker:
        """Return the current state."""
        return self._breaker

    @property
    def is_settled(self) -> bool:
        """Return whether everything that other daemons need is recorded."""
        return self._unsaved.is_settled

    @property
    def version(self) -> int:
        """Return a number that changes when a change begins to be saved."""
        return self._unsaved.version

    def apply(self, step: Step) -> None:
        """Take a step of the breaker."""
        for event in step.events:
            self._log(event, step.breaker.state)
        self._breaker = step.breaker
        if step.change is not UNCHANGED:
            self._keep_success()
            self._unsaved = self._unsaved.add(step.change)

    def succeed(self, now: datetime) -> None:
        """Take a success, which changes only the time of the last one while the target is healthy."""
        if self._breaker.is_healthy:
            self._success_at = now
        else:
            self.apply(breaker.on_success(self._breaker, now))

    def _keep_success(self) -> None:
        if self._success_at is not None:
            self._unsaved = self._unsaved.add(TargetChange(success_at=self._success_at))
            self._success_at = None

    def apply_claim(self, state: TargetState, probe: int | None, version: int) -> None:
        """Take over the state that came with a claim, unless it is older than a change made here.

        ``version`` is the version from before the claim.
        """
        if self.is_settled and self.version == version:
            self._unsaved = replace(self._unsaved, known_failing_since=state.failing_since)
            self.apply(breaker.apply_claim(self._breaker, state, probe))

    def begin_saving(self, now: float, *, closing: bool) -> TargetChange | None:
        """Return the change to save now, if any; a success alone once a second, or when ``closing``."""
        is_due = closing or now - self._saved_at > SUCCESS_SECONDS
        if not self._unsaved.change.is_urgent and not is_due:
            return None
        self._keep_success()
        if self._unsaved.change == UNCHANGED:
            return None
        self._unsaved, change = self._unsaved.begin()
        return change

    def saved(self, change: TargetChange, now: float, *, overtaken: bool) -> None:
        """Mark a change as recorded, or as ``overtaken`` by another daemon's record."""
        self._saved_at = now
        self._unsaved = self._unsaved.saved(change, overtaken=overtaken)

    def failed_to_save(self, change: TargetChange) -> None:
        """Keep a change for the next time."""
        self._unsaved = self._unsaved.failed(change)

    def _log(self, event: BreakerEvent, state: TargetState) -> None:
        match event:
            case BreakerEvent.FAILING | BreakerEvent.REFUSING:
                log.warning(event.value, target=self._name, error=state.last_error)
            case BreakerEvent.RECOVERED:
                before = self._breaker.state
                log.info(event.value, target=self._name, failing_since=before.failing_since or before.refusing_since)
            case BreakerEvent.PAUSED if state.paused_reason is not None:
                log.warning(event.value, target=self._name, reason=state.paused_reason)
            case _:
                log.info(event.value, target=self._name)
