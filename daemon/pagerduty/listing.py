"""Reading a list page by page without skipping records when it changes meanwhile."""

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
    """Every log entry of a time window, in list order (newest first), and the rejected records.

    ``server_time`` is PagerDuty's clock when it sent the first page; None if the response had no date.
    """

    entries: tuple[LogEntry, ...]
    rejected: tuple[Rejected, ...]
    server_time: datetime | None
    calls: int


@dataclass(frozen=True, slots=True)
class Listing:
    """Incidents by id, and the rejected records."""

    incidents: dict[str, Json]
    rejected: tuple[Rejected, ...]


@dataclass
class Pages:
    """The records of a list, each once and in list order, even if new ones appeared while it was read.

    ``server_time`` is that of the first page: a later one would claim that more was read than really was.
    """

    records: list[Any] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    order: list[str] = field(default_factory=list)
    server_time: datetime | None = None
    calls: int = 0

    def add(self, page: ListedPage) -> int:
        """Insert the new records of a page where they belong: after the record before them, or at the front.

        Returns how many were new.
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
        """Return whether a record was read before."""
        return _identity(record) in self.known


@dataclass(frozen=True, slots=True)
class ListedPage:
    """One page: its records, whether there are more, and when it was sent."""

    records: list[Any]
    more: bool
    server_time: datetime | None


async def read_all(fetch: Callable[[int], Awaitable[ListedPage]]) -> Pages:
    """Read a complete list; ``fetch(offset)`` reads at most ``PAGE`` records from there.

    Pages overlap by one record. If that record is known already, nothing has moved from behind the seam to
    before it; otherwise reading goes back by one page. So every record that is in the list throughout is read.
    Raises WindowTooLarge before reading beyond what PagerDuty lists, and Temporary if the list changes faster
    than it can be read.
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
        if not new and len(page.records) < PAGE:  # otherwise it would continue record by record
            message = "the list claims to have more records but returns the same ones again"
            raise errors.Temporary(message)
        offset += max(len(page.records) - 1, 1)


def _identity(record: object) -> str:
    """Return what identifies a record on two pages: its id, or its whole content if it has none."""
    return lenient_json.get_text(record, "id") or orjson.dumps(record).decode()
