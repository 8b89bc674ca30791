"""Lists of everything of a kind with its health, the worst first, in pages with numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from daemon.views import troubles
from daemon.views.troubles import Checked

if TYPE_CHECKING:
    from collections.abc import Collection

    from daemon.page.visit import Visit

LENGTH = 100


@dataclass(frozen=True, slots=True)
class StatusPart(Generic[Checked]):
    """A part of the items in one state of health, or in any. ``counts`` has the number of all by health."""

    items: list[Checked]
    counts: dict[str, int]
    health: str
    previous: str | None
    next: str | None


def part(visit: Visit, statuses: Collection[Checked]) -> StatusPart[Checked]:
    """Return the part that the URL asks for with ``health`` and ``page``."""
    health, number = visit.query.get("health", ""), _number(visit.query.get("page", ""))
    ordered = troubles.worst_first(statuses)
    counts = Counter(each.health.value for each in ordered)
    chosen = [each for each in ordered if health in {"", each.health}]
    last = max((len(chosen) - 1) // LENGTH, 0)
    number = min(number, last)

    def url(page: int) -> str:
        return visit.url(visit.section, health=health, page=page + 1 if page else None)

    return StatusPart(
        chosen[number * LENGTH : (number + 1) * LENGTH],
        dict(counts),
        health,
        url(number - 1) if number else None,
        url(number + 1) if number < last else None,
    )


def _number(text: str) -> int:
    """Return the index of the page with this number; for anything else the first one's."""
    return max(int(text) - 1, 0) if text.isascii() and text.isdigit() and len(text) < len(str(2**31)) else 0
