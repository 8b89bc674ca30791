"""Waiting for a condition, with a deadline: what tests do instead of sleeping."""

from __future__ import annotations

import asyncio
import inspect
import reprlib
import time
from collections.abc import Callable
from typing import Any

SECONDS = 30.0
INTERVAL = 0.005
LONGEST_INTERVAL = 0.5

Probe = Callable[[], Any]

_SHORT = reprlib.Repr()
vars(_SHORT).update(dict.fromkeys(("maxstring", "maxother"), 500))
vars(_SHORT).update(dict.fromkeys(("maxlist", "maxtuple", "maxdict", "maxset"), 20))


async def eventually(probe: Probe, expected: object = True, seconds: float = SECONDS) -> None:  # noqa: FBT002 - a value
    """Wait until ``probe`` returns ``expected``, or any true value if that is not given.

    The probe may also be a coroutine function. Raises AssertionError with the last state after ``seconds``.
    """
    wait = _Wait(probe, expected, seconds)
    async with asyncio.timeout(seconds + LONGEST_INTERVAL):
        while True:
            began = time.monotonic()
            value = probe()
            if inspect.isawaitable(value):
                value = await value
            if wait.is_over(value, began):
                return
            await asyncio.sleep(wait.interval)


def eventually_in_thread(probe: Probe, expected: object = True, seconds: float = SECONDS) -> None:  # noqa: FBT002
    """Wait like ``eventually``, for code without an event loop."""
    wait = _Wait(probe, expected, seconds)
    while not wait.is_over(began=time.monotonic(), value=probe()):
        time.sleep(wait.interval)


class _Wait:
    """The deadline of one wait. Probing takes at most a tenth of the time, since the watched code needs the rest."""

    def __init__(self, probe: Probe, expected: object, seconds: float) -> None:
        self._probe = probe
        self._expected = expected
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds

    def is_over(self, value: object, began: float) -> bool:
        """Return whether ``value`` is the expected one; raise AssertionError when it is too late for that."""
        if value == self._expected or (self._expected is True and value):
            return True
        now = time.monotonic()
        if now > self._deadline:
            raise AssertionError(self._message(value))
        self.interval = min(max(INTERVAL, 9 * (now - began)), LONGEST_INTERVAL)
        return False

    def _message(self, value: object) -> str:
        names = inspect.getclosurevars(self._probe).nonlocals if inspect.isfunction(self._probe) else {}
        where = "".join(f"\n  {name} = {_SHORT.repr(each)}" for name, each in names.items())
        return f"not within {self._seconds} s: {_SHORT.repr(value)} instead of {_SHORT.repr(self._expected)}{where}"
