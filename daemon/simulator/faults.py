"""What can go wrong between PagerDuty and a client, on demand: once, or at a rate drawn from a seed."""

from __future__ import annotations

import enum
import random
from collections import deque
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import orjson

from daemon.simulator.http import Answer, Ending

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.simulator.http import Request

RATE_LIMIT_SECONDS = 1
SLOW_SECONDS = 0.2
LATE_SECONDS = (1.0, 4.0)
SERVER_ERRORS = (500, 502, 503, 504)


class Fault(enum.StrEnum):
    """The catalogue."""

    RATE_LIMITED = "rate_limited"  # 429 with ratelimit-* headers
    RATE_LIMITED_BARE = "rate_limited_bare"  # 429 without headers and body
    SERVER_ERROR = "server_error"  # 500, 502, 503, 504, with HTML
    SLOW = "slow"  # answers, later
    RESET = "reset"  # the connection breaks before the answer
    CUT = "cut"  # the connection breaks within the answer
    NOT_JSON = "not_json"  # 200 with a page of HTML
    TOO_LONG = "too_long"  # 2016: the window is too large
    SHIFT = "shift"  # something happens while a list is being read
    LATE = "late"  # a log entry is shown some time after it was written
    SWAPPED = "swapped"  # entries of one second change places: the assignment comes before its trigger


AFTER_THE_ANSWER = frozenset({Fault.SHIFT, Fault.LATE, Fault.SWAPPED})
FOR_WINDOWS = frozenset({Fault.TOO_LONG})


class Faults:
    """Which faults happen: first those asked for ``once``, then each at its rate (0 to 1)."""

    def __init__(self, seed: int = 0) -> None:
        self._chance = random.Random(seed)
        self._rates: dict[Fault, float] = {}
        self._queue: deque[Fault] = deque()
        self.late_seconds = LATE_SECONDS

    def set(self, rates: Mapping[str, float], seed: int | None = None) -> None:
        """Replace all rates. Raises ValueError for a fault that is none."""
        self._rates = {Fault(name): float(rate) for name, rate in rates.items()}
        if seed is not None:
            self._chance.seed(seed)

    def once(self, *faults: Fault) -> None:
        """Let the next calls meet these, one each. Raises ValueError for one that is no answer."""
        if beside := AFTER_THE_ANSWER & set(faults):
            message = f"{min(beside)} can only be given a rate"
            raise ValueError(message)
        self._queue.extend(faults)

    def clear(self) -> None:
        """No more of them."""
        self._rates = {}
        self._queue.clear()

    def draw(self, request: Request) -> Fault | None:
        """What this call meets, if anything."""
        if self._queue:
            return self._queue.popleft()
        for fault, rate in self._rates.items():
            if fault in AFTER_THE_ANSWER or (fault in FOR_WINDOWS and request.get("since") is None):
                continue
            if self._chance.random() < rate:
                return fault
        return None

    def happens(self, fault: Fault) -> bool:
        """Whether a fault that is no answer happens now."""
        return self._chance.random() < self._rates.get(fault, 0.0)

    def lateness(self) -> timedelta:
        """How long after its time the next log entry is shown."""
        return timedelta(seconds=self._chance.uniform(*self.late_seconds) if self.happens(Fault.LATE) else 0)

    def spoil(self, fault: Fault, answer: Answer) -> Answer:
        """The answer as the fault leaves it."""
        match fault:
            case Fault.SLOW:
                return replace(answer, pause=SLOW_SECONDS)
            case Fault.RESET:
                return replace(answer, ending=Ending.RESET)
            case Fault.CUT:
                return replace(answer, ending=Ending.CUT)
            case Fault.SERVER_ERROR:
                status = self._chance.choice(SERVER_ERRORS)
                return Answer(status, f"<html><h1>{status}</h1></html>".encode(), {"content-type": "text/html"})
        return _INSTEAD.get(fault, answer)


def _error(message: str, code: int) -> bytes:
    return orjson.dumps({"error": {"message": message, "code": code}})


_USED_UP = {"ratelimit-limit": "960", "ratelimit-remaining": "0", "ratelimit-reset": str(RATE_LIMIT_SECONDS)}
_INSTEAD = {
    Fault.RATE_LIMITED: Answer(429, _error("Rate Limit Exceeded", 2020), _USED_UP),
    Fault.RATE_LIMITED_BARE: Answer(429),
    Fault.NOT_JSON: Answer(200, b"<html>Please log in to the proxy</html>", {"content-type": "text/html"}),
    Fault.TOO_LONG: Answer(400, _error("The request took too long to process", 2016)),
}
