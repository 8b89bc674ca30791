"""Reading a list page by page, so that nothing is skipped while it moves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from daemon import errors
from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from daemon.model import Json, LogEntry, Rejected

PAGE = 100
CAP = 10_000
STEPS_BACK = 20


@dataclass(frozen=True, slots=True)
class Window:
    """Every log entry of a time window, in the list's order (newest first), and what had to be set aside.

    ``server_time`` is PagerDuty's clock when the first page was made, None if it did not say.
    """

    entries: tuple[LogEntry, ...]
    rejected: tuple[Rejected, ...]
    server_time: datetime | None
    calls: int


@dataclass(frozen=True, slots=True)
class Listing:
    """Incidents by id, and what had to be set aside."""

    incidents: dict[str, Json]
    rejected: tuple[Rejected, ...]


@dataclass
class Pages:
    """The records of a list, each once, in the list's order, whatever came in while it was read.

    ``server_time`` is from the first page alone: a later one would claim more than was read.
    """

    records: list[Any] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    order: list[str] = field(default_factory=list)
    server_time: datetime | None = None
    calls: int = 0

    def add(self, page: ListedPage) -> int:
        """Keep what is new on a page, in its place: behind the record before it, at the front if there is none.

        Answers how many were new.
        """
        before = len(self.records)
        place = 0
        for record in page.records:
            identity = _identity(record)
            if identity in self.known:
                place = self.order.index(identity) + 1
            else:
                self.known.add(identity)
                self.order.insert(place, identity)
                self.records.insert(place, record)
                place += 1
        return len(self.records) - before

    def knows(self, record: object) -> bool:
        """Whether a record was read before."""
        return _identity(record) in self.known


@dataclass(frozen=True, slots=True)
class ListedPage:
    """One page: its records, whether there are more, and when it was made."""

    records: list[Any]
    more: bool
    server_time: datetime | None


async def read_all(fetch: Callable[[int], Awaitable[ListedPage]]) -> Pages:
    """Read a whole list; ``fetch(offset)`` reads at most ``PAGE`` records from there.

    Pages overlap by one record. Its being known proves that nothing slipped from behind
    the seam to before it; otherwise reading goes a page back. So whatever is in the list
    the whole time is found. Raises WindowTooLarge before it would cross what PagerDuty
    lists, Temporary if the list changes faster than it can be read.
    """
    pages = Pages()
    offset = steps_back = 0
    while True:
        if offset + PAGE > CAP:
            message = f"the list has more than {CAP} records"
            raise errors.WindowTooLarge(message)
        page = await fetch(offset)
        pages.calls += 1
        if pages.calls == 1:
            pages.server_time = page.server_time
        if offset and not (page.records and pages.knows(page.records[0])):
            steps_back += 1
            if steps_back > STEPS_BACK:
                message = "the list changed too much while it was read"
                raise errors.Temporary(message)
            offset = max(offset - PAGE + 1, 0)
            continue
        new = pages.add(page)
        if not page.more or not page.records:
            return pages
        if not new and len(page.records) < PAGE:  # else it would go on record by record
            message = "the list says that there is more, and gives the same again"
            raise errors.Temporary(message)
        offset += max(len(page.records) - 1, 1)


def _identity(record: object) -> str:
    """What makes a record the same one on two pages: its id, or all of it if it has none."""
    return lenient_json.get_text(record, "id") or orjson.dumps(record).decode()
