"""Reading a list page by page without skipping records when it changes meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from daemon import errors
from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from daemon.model import Json, LogEntry, Rejected

    Fetch: TypeAlias = Callable[["PageRequest"], Awaitable["ListedPage"]]

PAGE = 100
SMALLER = {100: 25, 25: 6, 6: 2}  # two records are the smallest page: consecutive pages overlap by one
CAP = 10_000
STEPS_BACK = 20
REMEMBERED_SECONDS = 600.0


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

    ``oversized`` are those of them that were too large to be read whole. ``server_time`` is that of the first page: a
    later one would claim that more was read than really was.
    """

    records: list[Any] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    order: list[str] = field(default_factory=list)
    oversized: list[Any] = field(default_factory=list)
    server_time: datetime | None = None
    calls: int = 0

    def add(self, page: ListedPage) -> int:
        """Insert the new records of a page where they belong: after the record before them, or at the front.

        Returns how many were new.
        """
        before = len(self.records)
        self.oversized += [record for record in page.oversized if not self.knows(record)]
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
    """One page: its records, whether there are more, and when it was sent.

    ``oversized`` are the records that are incomplete, since they are too large.
    """

    records: list[Any]
    more: bool
    server_time: datetime | None
    oversized: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A request for at most ``limit`` records from ``offset`` on; ``brief`` leaves out what can be large."""

    offset: int
    limit: int
    brief: bool = False


class PageSizes:
    """The page size that works for each list, remembered for ten minutes, measured by the clock ``now`` in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._smaller: dict[str, tuple[int, float]] = {}

    def get(self, path: str) -> int:
        """Return the size with which to begin."""
        size, until = self._smaller.get(path, (PAGE, 0.0))
        return size if self._now() < until else PAGE

    def remember(self, path: str, size: int) -> None:
        """Remember a size that works, unless it is the usual one, or known."""
        if size < self.get(path):
            self._smaller[path] = size, self._now() + REMEMBERED_SECONDS


async def read_all(fetch: Fetch, sizes: PageSizes, path: str) -> Pages:
    """Read the complete list at ``path``, in smaller pages where a page is too large or too slow.

    Pages overlap by one record. If that record is known already, nothing has moved from behind the seam to
    before it; otherwise reading goes back by one page. So every record that is in the list throughout is read.
    Raises WindowTooLarge before reading beyond what PagerDuty lists, and Temporary if the list changes faster
    than it can be read.
    """
    pages = Pages()
    offset = steps_back = 0
    limit = sizes.get(path)
    while True:
        if offset + limit > CAP:
            message = f"the list has more than {CAP} records"
            raise errors.WindowTooLarge(message)
        page, limit = await _fetch(fetch, offset, limit, pages)
        sizes.remember(path, limit)
        if not pages.records:
            pages.server_time = page.server_time
        if offset and not (page.records and pages.knows(page.records[0])):
            steps_back += 1
            if steps_back > STEPS_BACK:
                message = "the list changed too much while it was read"
                raise errors.Temporary(message)
            offset = max(offset - limit + 1, 0)
            continue
        new = pages.add(page)
        if not page.more or not page.records:
            return pages
        if not new and len(page.records) < limit:  # otherwise it would continue record by record
            message = "the list claims to have more records but returns the same ones again"
            raise errors.Temporary(message)
        offset += max(len(page.records) - 1, 1)


async def _fetch(fetch: Fetch, offset: int, limit: int, pages: Pages) -> tuple[ListedPage, int]:
    """Return a page, and the size that worked: smaller than ``limit`` if that is too large or too slow."""
    while True:
        pages.calls += 1
        try:
            return await fetch(PageRequest(offset, limit)), limit
        except errors.PageTooLarge as error:
            if limit in SMALLER:
                limit = SMALLER[limit]
                continue
            if error.status is None:  # not even two records come in time: it is not their size
                raise
        page = await _one_by_one(fetch, offset, limit)
        pages.calls += 1 + len(page.records)
        return page, limit


async def _one_by_one(fetch: Fetch, offset: int, limit: int) -> ListedPage:
    """Return a page whose records are too large together: each record whole if it can be read, else in brief."""
    page = await fetch(PageRequest(offset, limit, brief=True))
    records, oversized = [], []
    for number, brief in enumerate(page.records):
        try:
            whole = (await fetch(PageRequest(offset + number, 1))).records
        except errors.PageTooLarge:
            oversized.append(brief)
            whole = [brief]
        records.append(whole[0] if whole and _identity(whole[0]) == _identity(brief) else brief)
    return ListedPage(records, page.more, page.server_time, tuple(oversized))


def _identity(record: object) -> str:
    """Return what identifies a record on two pages: its id, or its whole content if it has none."""
    return lenient_json.get_text(record, "id") or orjson.dumps(record).decode()
