"""How far back each poll reads the log again, for entries that appear late."""

from __future__ import annotations

from datetime import timedelta

from daemon.ingest.window_length import FEW_CALLS

LEAST = timedelta(seconds=30)


class Overlap:
    """The overlap of one connection's polls: ``longest``, or less in a storm, to keep polls short.

    The sweep reads the rest again. It outlives a reload, so that the next poll of a storm is short, too.
    """

    def __init__(self, longest: timedelta) -> None:
        self.longest = longest
        self.current = longest

    def adapt(self, calls: int) -> None:
        """Shorten or lengthen the overlap after a poll whose last window took this many calls."""
        if calls > FEW_CALLS:
            self.current = max(self.current / 2, min(LEAST, self.longest))
        else:
            self.current = min(self.current * 2, self.longest)
