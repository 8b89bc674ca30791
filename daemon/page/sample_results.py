"""The results of target tests, kept in memory for the page that a test redirects to."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.delivery.sample_delivery import Trial

MOST = 100


class SampleResults:
    """The results of the last tests, by a random key."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], Sequence[Trial]] = OrderedDict()

    def keep(self, target: str, trials: Sequence[Trial]) -> str:
        """Keep the results of a target's test; return their key."""
        key = secrets.token_urlsafe(8)
        self._kept[target, key] = trials
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)
        return key

    def find(self, target: str, key: str) -> Sequence[Trial] | None:
        """Return the results of a target's test, or None if they are no longer kept."""
        return self._kept.get((target, key))
