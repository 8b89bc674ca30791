"""The pick-lists of action forms, kept for a moment so that typing does not use up the call budget.

PagerDuty is asked with what was typed only if no list that is known to be whole contains the matches.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from daemon import errors
from daemon.control.pick_lists import PickLists
from daemon.pagerduty import lookups, picks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from daemon.control import Current
    from daemon.pagerduty import Client
    from daemon.storage.database import Database

KEPT_SECONDS = {"incidents": 10.0, "users": 120.0, "policies": 120.0}
FAILURE_SECONDS = 5.0
OF_PARAMETER = {"incidentId": "incidents", "userId": "users", "reassignUserId": "users", "policyId": "policies"}
SEARCHED = frozenset({"users", "policies"})  # by PagerDuty; of incidents only the newest are offered
MOST_SEARCHES = 10  # of one connection in a minute, whoever types
MINUTE = 60.0
MOST_KEPT = 200  # lists
LONGEST_TEXT = 100


@dataclass(frozen=True, slots=True)
class Choice:
    """An id, and how people call what it names."""

    id: str
    label: str

    def contains(self, text: str) -> bool:
        """Return whether the id or the label contains a text, whatever its case."""
        return text in self.label.casefold() or text in self.id.casefold()


@dataclass(frozen=True, slots=True)
class ChoiceList:
    """The available choices. ``problem`` says why there are none; ``is_whole`` is False if there may be more."""

    choices: Sequence[Choice]
    problem: str | None = None
    is_whole: bool = True

    def label(self, chosen: str) -> str | None:
        """Return how people call what an id names, if it is in the list."""
        return next((each.label for each in self.choices if each.id == chosen), None)

    def matching(self, text: str) -> ChoiceList:
        """Return those that contain a text."""
        matches = [each for each in self.choices if each.contains(text)]
        return ChoiceList(matches, self.problem, self.is_whole)


class Choices:
    """Reads pick-lists from PagerDuty."""

    def __init__(self, database: Database, current: Current, clock: Callable[[], float] = time.monotonic) -> None:
        self._lists = PickLists(database, current)
        self._current = current
        self._services = current.services
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str, str], tuple[float, ChoiceList]] = OrderedDict()
        self._searches: dict[str, deque[float]] = {}

    async def read(self, connection: str, kind: str, text: str = "") -> ChoiceList:
        """Return the entries that contain a text; without a list, ids can still be typed."""
        if self._services is not self._current.services:  # another configuration, perhaps another account
            self._services = self._current.services
            self._kept.clear()
        text = " ".join(text.split()).casefold()[:LONGEST_TEXT]
        first = self._get(connection, kind, "") or await self._ask(connection, kind, "")
        if not text:
            return first
        narrowest = first
        for length in range(1, len(text) + 1):
            narrowest = self._get(connection, kind, text[:length]) or narrowest
            if narrowest.is_whole:
                return narrowest.matching(text)
        if self._get(connection, kind, text) is not None:
            return narrowest
        if first.is_whole or not self._may_search(connection):
            return narrowest.matching(text)
        return await self._ask(connection, kind, text)

    async def _ask(self, connection: str, kind: str, text: str) -> ChoiceList:
        """Return a list from PagerDuty, and keep it."""
        ask, label = KINDS[kind]
        try:
            entries = await self._lists.read(connection, ask, text or None)
        except (errors.PagerDutyError, errors.NotFound) as error:
            return self._keep((connection, kind, text), ChoiceList((), str(error)), FAILURE_SECONDS)
        is_whole = kind not in SEARCHED or len(entries) < lookups.MOST
        choices = ChoiceList([Choice(each.id, label(each)) for each in entries], is_whole=is_whole)
        return self._keep((connection, kind, text), choices, KEPT_SECONDS[kind])

    def _keep(self, key: tuple[str, str, str], choices: ChoiceList, seconds: float) -> ChoiceList:
        self._kept[key] = self._clock() + seconds, choices
        self._kept.move_to_end(key)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return choices

    def _get(self, connection: str, kind: str, text: str) -> ChoiceList | None:
        """Return a list that is still kept."""
        until, choices = self._kept.get((connection, kind, text), (float("-inf"), None))
        return choices if self._clock() < until else None

    def _may_search(self, connection: str) -> bool:
        """Return whether a connection's budget may be spent on one more search, and count it."""
        now, times = self._clock(), self._searches.setdefault(connection, deque(maxlen=MOST_SEARCHES))
        if len(times) == MOST_SEARCHES and now - times[0] < MINUTE:
            return False
        times.append(now)
        return True


def _incident(pick: Any) -> str:  # noqa: ANN401 - an IncidentPick
    return " · ".join(filter(None, (pick.summary, pick.status, pick.service)))


def _user(pick: Any) -> str:  # noqa: ANN401 - a UserPick
    return " · ".join(filter(None, (pick.name, pick.email)))


def _policy(pick: Any) -> str:  # noqa: ANN401 - a PolicyPick
    return pick.name or ""


Kind = tuple["Callable[[Client, str | None], Awaitable[list[Any]]]", "Callable[[Any], str]"]
KINDS: dict[str, Kind] = {
    "incidents": (picks.incidents, _incident),
    "users": (picks.users, _user),
    "policies": (picks.escalation_policies, _policy),
}
