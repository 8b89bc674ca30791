"""The log of an account as readers see it, and the ledger: the true events to compare it with.

Entries are written in the order of events, with times of whole seconds.
"""

from __future__ import annotations

import bisect
import contextlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from daemon.simulator.directory import ALPHABET
from daemon.simulator.incident import NEVER, Entry, Happening
from daemon.triggers import assigned

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from daemon.model import Json
    from daemon.simulator.directory import User
    from daemon.simulator.incident import Incident

ENTRY_ID = 25


def utc_now() -> datetime:
    """Return the time of this machine."""
    return datetime.now(UTC)


class LogBook:
    """The events of an account. ``late`` returns for each entry how long after its time readers see it."""

    def __init__(self, clock: Callable[[], datetime], chance: random.Random) -> None:
        self.entries: list[Entry] = []
        self.ledger: list[Happening] = []
        self._by_time: list[Entry] = []
        self.late: Callable[[], timedelta] = timedelta
        self._clock = clock
        self._chance = chance

    def now(self) -> datetime:
        """Return the account's time."""
        return self._clock()

    def second(self) -> datetime:
        """Return the account's time in whole seconds, as its records show it."""
        return self.now().astimezone(UTC).replace(microsecond=0)

    @contextlib.contextmanager
    def at(self, moment: datetime) -> Iterator[None]:
        """Set the account's time inside the context."""
        clock, self._clock = self._clock, lambda: moment
        try:
            yield
        finally:
            self._clock = clock

    @contextlib.contextmanager
    def hiding(self) -> Iterator[None]:
        """Make changes inside the context that never appear in the log."""
        late, self.late = self.late, lambda: NEVER - self.now()
        try:
            yield
        finally:
            self.late = late

    def write(
        self,
        kind: str,
        incident: Incident,
        agent: Json | None,
        channel: Json,
        assignees: tuple[User, ...] | None = None,
        **more: object,
    ) -> Entry:
        """Write one more entry with the current time."""
        entry = Entry(
            id=new_id(self._chance, "R", ENTRY_ID),
            seq=len(self.entries),
            type=f"{kind}_log_entry",
            created_at=self.second(),
            incident=incident,
            agent=agent,
            channel=channel,
            assignees=assignees,
            more=more,
            visible_at=self.now() + self.late(),
        )
        incident.updated_at = entry.created_at
        self.entries.append(entry)
        bisect.insort(self._by_time, entry, key=_place)
        return entry

    def happened(self, event_type: str, entry: Entry, note: str | None = None) -> None:
        """Add a line to the ledger that ``entry`` reports."""
        users = tuple(user.id for user in entry.assignees or ()) if event_type == assigned.TYPE.name else ()
        self.ledger.append(
            Happening(len(self.ledger), entry.created_at, event_type, entry.incident.id, entry.id, users, note)
        )

    def happened_silently(self, event_type: str, incident: Incident) -> None:
        """Add a line to the ledger that no entry reports."""
        incident.updated_at = self.second()
        self.ledger.append(Happening(len(self.ledger), incident.updated_at, event_type, incident.id, ""))

    def read(self, since: datetime, until: datetime) -> list[Entry]:
        """Return the entries of a window that are visible now, newest first; within a second, last written first."""
        now = self.now()
        first, last = (bisect.bisect_left(self._by_time, (moment, -1), key=_place) for moment in (since, until))
        return [each for each in reversed(self._by_time[first:last]) if each.visible_at <= now]


def _place(entry: Entry) -> tuple[datetime, int]:
    return entry.created_at, entry.seq


def new_id(chance: random.Random, prefix: str, length: int) -> str:
    """Return an id as PagerDuty assigns to events."""
    return prefix + "".join(chance.choices(ALPHABET, k=length))
