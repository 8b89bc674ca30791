"""Reading a list page by page, so that nothing is skipped while it moves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from daemon import errors, resource

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from daemon.model import Json, LogEntry, Rejected

PAGE = 100
CAP = 10_000
RESTARTS = 3


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
    """The records of a list, each once, as they were read."""

    records: list[Any] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    server_time: datetime | None = None
    calls: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """One page: its records, whether there are more, and when it was made."""

    records: list[Any]
    more: bool
    server_time: datetime | None


async def read_all(fetch: Callable[[int], Awaitable[Page]]) -> Pages:
    """Read a whole list; ``fetch(offset)`` reads ``PAGE`` records from there.

    Pages overlap by one record. Its being known proves that nothing slipped from behind
    the seam to before it; otherwise the list is read again from the start. Raises
    WindowTooLarge before it would cross what PagerDuty lists.
    """
    pages = Pages()
    for _ in range(RESTARTS):
        if await _read_once(fetch, pages):
            return pages
    message = "the list changed too much while it was read"
    raise errors.Temporary(message)


async def _read_once(fetch: Callable[[int], Awaitable[Page]], pages: Pages) -> bool:
    offset = 0
    while True:
        if offset + PAGE > CAP:
            message = f"the list has more than {CAP} records"
            raise errors.WindowTooLarge(message)
        page = await fetch(offset)
        pages.calls += 1
        if pages.server_time is None:
            pages.server_time = page.server_time
        if offset and page.records and not _is_known(page.records[0], pages.ids):
            return False
        for record in page.records:
            _keep(record, pages)
        if not page.more or not page.records:
            return True
        offset += max(len(page.records) - 1, 1)


def _is_known(record: object, ids: set[str]) -> bool:
    record_id = resource.text(record, "id")
    return record_id is None or record_id in ids


def _keep(record: object, pages: Pages) -> None:
    record_id = resource.text(record, "id")
    if record_id is None:
        pages.records.append(record)
    elif record_id not in pages.ids:
        pages.ids.add(record_id)
        pages.records.append(record)
