"""Faults between PagerDuty and a client, on demand: once, or at a seeded random rate.

A failed write may have taken effect or not, and its caller cannot know. Faults named ``before`` or ``after`` settle it.
Of the others, a rate limit and a proxy's page come before the effect, a slow or cut-off response comes after it, and a
server error, a broken connection and silence come before it as often as after it.
"""

from __future__ import annotations

import enum
import random
from collections import deque
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import orjson

from daemon.simulator import events_api, refusals
from daemon.simulator.http import Ending, SimResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.simulator.http import SimRequest

RATE_LIMIT_SECONDS = 1
SLOW_SECONDS = 0.2
LATE_SECONDS = (1.0, 4.0)
HANG_SECONDS = 600.0
EVEN = 0.5
SERVER_ERRORS = (500, 502, 503, 504)


class Fault(enum.StrEnum):
    """The kinds of faults."""

    RATE_LIMITED = "rate_limited"  # 429 with ratelimit-* headers
    RATE_LIMITED_BARE = "rate_limited_bare"  # 429 without headers and body
    SERVER_ERROR = "server_error"  # 500, 502, 503, 504, with HTML
    SLOW = "slow"  # a late response
    RESET = "reset"  # the connection breaks before the response
    CUT = "cut"  # the connection breaks within the response
    NOT_JSON = "not_json"  # 200 with an HTML page
    TOO_LONG = "too_long"  # 2016: the window is too large
    SHIFT = "shift"  # a list changes while it is being read
    LATE = "late"  # a log entry appears some time after it was written
    SWAPPED = "swapped"  # entries of one second in reverse order: the assignment before its trigger
    HANG = "hang"  # no response for longer than any time-out
    SERVER_ERROR_BEFORE = "server_error_before"  # a write that took no effect
    SERVER_ERROR_AFTER = "server_error_after"  # a write that took effect
    RESET_BEFORE = "reset_before"
    RESET_AFTER = "reset_after"
    HANG_BEFORE = "hang_before"
    HANG_AFTER = "hang_after"
    CUT_AFTER = "cut_after"
    DATA_CHANGED = "data_changed"  # 1005: a concurrent update that took no effect
    THROTTLED = "throttled"  # the Events API's limit: 403 in version 1, 429 in version 2


AFTER_THE_ANSWER = frozenset({Fault.SHIFT, Fault.LATE, Fault.SWAPPED})
FOR_WINDOWS = frozenset({Fault.TOO_LONG})
BEFORE_THE_EFFECT = frozenset({Fault.SERVER_ERROR_BEFORE, Fault.RESET_BEFORE, Fault.HANG_BEFORE})
AFTER_THE_EFFECT = frozenset({Fault.SERVER_ERROR_AFTER, Fault.RESET_AFTER, Fault.HANG_AFTER, Fault.CUT_AFTER})
FOR_WRITES = BEFORE_THE_EFFECT | AFTER_THE_EFFECT
NOT_FOR_EVENTS = frozenset({Fault.RATE_LIMITED, Fault.RATE_LIMITED_BARE, Fault.TOO_LONG, Fault.DATA_CHANGED})
ALWAYS_AFTER = AFTER_THE_EFFECT | {Fault.SLOW, Fault.CUT}
EITHER_WAY = frozenset({Fault.SERVER_ERROR, Fault.RESET, Fault.HANG})


class Faults:
    """Decides which faults happen: first those queued by ``once``, then each at its rate (0 to 1)."""

    def __init__(self, seed: int = 0) -> None:
        self._chance = random.Random(seed)
        self._rates: dict[Fault, float] = {}
        self._queue: deque[Fault] = deque()
        self.late_seconds = LATE_SECONDS
        self.hang_seconds = HANG_SECONDS

    def set(self, rates: Mapping[str, float], seed: int | None = None) -> None:
        """Replace all rates. Raises ValueError for an unknown fault."""
        self._rates = {Fault(name): float(rate) for name, rate in rates.items()}
        if seed is not None:
            self._chance.seed(seed)

    def once(self, *faults: Fault) -> None:
        """Apply each fault to the next call that it fits. Raises ValueError for a fault that is not a response."""
        if unfit := AFTER_THE_ANSWER & set(faults):
            message = f"{min(unfit)} can only have a rate"
            raise ValueError(message)
        self._queue.extend(faults)

    def clear(self) -> None:
        """Remove all faults."""
        self._rates = {}
        self._queue.clear()

    def draw(self, request: SimRequest) -> Fault | None:
        """Return the fault for this call, if any."""
        for fault in self._queue:
            if _can_meet(request, fault):
                self._queue.remove(fault)
                return fault
        for fault, rate in self._rates.items():
            if fault in AFTER_THE_ANSWER or (fault in FOR_WINDOWS and request.get("since") is None):
                continue
            if _can_meet(request, fault) and self._chance.random() < rate:
                return fault
        return None

    def lets_through(self, fault: Fault) -> bool:
        """Return whether a write takes effect despite a fault."""
        return self._chance.random() < EVEN if fault in EITHER_WAY else fault in ALWAYS_AFTER

    def happens(self, fault: Fault) -> bool:
        """Return whether a fault that is not a response happens now."""
        return self._chance.random() < self._rates.get(fault, 0.0)

    def lateness(self) -> timedelta:
        """Return how late the next log entry appears."""
        return timedelta(seconds=self._chance.uniform(*self.late_seconds) if self.happens(Fault.LATE) else 0)

    def apply_fault(self, fault: Fault, request: SimRequest, answer: SimResponse) -> SimResponse:
        """Return the response after the fault."""
        match Fault(fault.removesuffix("_before").removesuffix("_after")):
            case Fault.THROTTLED:
                return events_api.throttled(request)
            case Fault.SLOW:
                return replace(answer, pause=SLOW_SECONDS)
            case Fault.HANG:
                return replace(answer, pause=self.hang_seconds)
            case Fault.RESET | Fault.CUT as kind:
                return replace(answer, ending=_ENDINGS[kind])
            case Fault.SERVER_ERROR:
                status = self._chance.choice(SERVER_ERRORS)
                return SimResponse(status, f"<html><h1>{status}</h1></html>".encode(), {"content-type": "text/html"})
        return _INSTEAD.get(fault, answer)


def _can_meet(request: SimRequest, fault: Fault) -> bool:
    """Return whether a fault fits a call."""
    event = events_api.is_event(request)
    if fault in FOR_WRITES:
        return request.is_write
    if fault is Fault.THROTTLED:
        return event
    if fault is Fault.DATA_CHANGED:
        return request.method == "PUT"
    return not event or fault not in NOT_FOR_EVENTS


def _error(message: str, code: int) -> bytes:
    return orjson.dumps({"error": {"message": message, "code": code}})


_ENDINGS = {Fault.RESET: Ending.RESET, Fault.CUT: Ending.CUT}
_USED_UP = {"ratelimit-limit": "960", "ratelimit-remaining": "0", "ratelimit-reset": str(RATE_LIMIT_SECONDS)}
_INSTEAD = {
    Fault.RATE_LIMITED: SimResponse(429, _error("Rate Limit Exceeded", 2020), _USED_UP),
    Fault.RATE_LIMITED_BARE: SimResponse(429),
    Fault.NOT_JSON: SimResponse(200, b"<html>Please log in to the proxy</html>", {"content-type": "text/html"}),
    Fault.DATA_CHANGED: refusals.data_changed().answer,
    Fault.TOO_LONG: SimResponse(400, _error("The request took too long to process", 2016)),
}
