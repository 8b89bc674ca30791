"""The right of this daemon to act, which ends when the others no longer count it as alive.

A process can stand still without noticing it: stopped, suspended with its machine, or cut off from the database.
Others then take its work over. Before each step that others may have taken over, a part asks ``is_current``, which
looks only at the time since the last recorded heartbeat, on a clock that goes on while the machine is suspended.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from daemon import errors

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta


def boot_time() -> float:
    """Return the seconds since the machine started, with those that it was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Presence:
    """The right of this daemon to act. ``lasts`` is how long a heartbeat counts; None: nobody else can take over."""

    def __init__(self, lasts: timedelta | None, clock: Callable[[], float] = boot_time) -> None:
        self._seconds = None if lasts is None else lasts.total_seconds()
        self._clock = clock
        self._recorded_at = clock()

    def now(self) -> float:
        """Return the time to ``confirm``; take it before the heartbeat's transaction begins."""
        return self._clock()

    def confirm(self, at: float) -> None:
        """Note that a heartbeat was recorded, whose transaction began at ``at``."""
        self._recorded_at = at

    def is_current(self) -> bool:
        """Return whether no other daemon can have taken over this one's work."""
        return self._seconds is None or self._clock() - self._recorded_at < self._seconds

    def require(self) -> None:
        """Raise LostClaim unless ``is_current``."""
        if not self.is_current():
            message = "this daemon recorded no heartbeat for so long that others may have taken over its work"
            raise errors.LostClaim(message)


UNCONTESTED = Presence(None)
