"""How much of the log to read in one window: short windows keep memory small, long ones save calls."""

from __future__ import annotations

from datetime import timedelta

FEW_CALLS = 4
MANY_CALLS = 20
LEAST = timedelta(seconds=1)


class WindowLength:
    """The length of the next window, ``longest`` at most: less after a window of many calls, more after one of few."""

    def __init__(self, first: timedelta, longest: timedelta = timedelta(days=365)) -> None:
        self.current = first
        self._longest = longest

    def adapt(self, calls: int) -> None:
        """Take into account how many calls a window took."""
        if calls <= FEW_CALLS:
            self.current = min(self.current * 2, self._longest)
        elif calls > MANY_CALLS:
            self.current = max(self.current / 2, LEAST)

    def halve(self, window: timedelta) -> bool:
        """Read half of a window that was too large; return whether that is possible."""
        self.current = window / 2
        return self.current >= LEAST
