"""How much of the log polls and sweeps of one connection read at a time."""

from __future__ import annotations

from datetime import timedelta

from daemon.ingest.window_length import FEW_CALLS, WindowLength

LEAST_OVERLAP = timedelta(seconds=30)
SWEEP_REACH = timedelta(hours=2)
FIRST_SWEEP_WINDOW = timedelta(minutes=5)


class Pace:
    """The overlap of polls, ``longest_overlap`` or less in a storm to keep them short, and the windows of sweeps.

    A sweep reads again what a short overlap leaves out. The pace outlives a reload, so that the next poll of a storm
    is short, too.
    """

    def __init__(self, longest_overlap: timedelta) -> None:
        self.longest_overlap = longest_overlap
        self.overlap = longest_overlap
        self.sweep_window = WindowLength(FIRST_SWEEP_WINDOW, SWEEP_REACH)

    def adapt_overlap(self, calls: int) -> None:
        """Shorten or lengthen the overlap after a poll whose last window took this many calls."""
        if calls > FEW_CALLS:
            self.overlap = max(self.overlap / 2, min(LEAST_OVERLAP, self.longest_overlap))
        else:
            self.overlap = min(self.overlap * 2, self.longest_overlap)
