"""The pick-lists of action forms, kept for a moment so that forms do not use up the call budget."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from daemon import errors
from daemon.control.pick_lists import PickLists
from daemon.pagerduty import picks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from daemon.control import Current
    from daemon.pagerduty import Client
    from daemon.storage.database import Database

KEPT_SECONDS = {"incidents": 10.0, "users": 120.0, "policies": 120.0}
OF_PARAMETER = {"incidentId": "incidents", "userId": "users", "reassignUserId": "users", "policyId": "policies"}


@dataclass(frozen=True, slots=True)
class Choice:
    """An id, and how people call what it names."""

    id: str
    label: str


@dataclass(frozen=True, slots=True)
class ChoiceList:
    """What can be chosen; ``problem`` says why nothing is offered."""

    choices: Sequence[Choice]
    problem: str | None = None


class Choices:
    """Reads pick-lists from PagerDuty."""

    def __init__(self, database: Database, current: Current) -> None:
        self._lists = PickLists(database, current)
        self._current = current
        self._services = current.services
        self._kept: dict[tuple[str, str], tuple[float, ChoiceList]] = {}

    async def read(self, connection: str, kind: str) -> ChoiceList:
        """Return a pick-list; without one, ids can still be typed."""
        if self._services is not self._current.services:  # another configuration, perhaps another account
            self._services = self._current.services
            self._kept.clear()
        until, kept = self._kept.get((connection, kind), (0.0, ChoiceList(())))
        if time.monotonic() < until:
            return kept
        ask, label = KINDS[kind]
        try:
            entries = await self._lists.read(connection, ask, None)
        except (errors.PagerDutyError, errors.NotFound) as error:
            return ChoiceList((), str(error))
        found = ChoiceList([Choice(each.id, label(each)) for each in entries])
        self._kept[connection, kind] = time.monotonic() + KEPT_SECONDS[kind], found
        return found


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
