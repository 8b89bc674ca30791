"""Filters from the URL, and pages that go backwards in time, for all lists."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from daemon import errors
from daemon.views import paging

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import sqlalchemy as sa

    from daemon.page.visit import Visit
    from daemon.views.paging import Page

LENGTH = 50


@dataclass(frozen=True, slots=True)
class ListPart:
    """One part of a list, the newest first. ``problem`` says which filter is wrong; then there are no items."""

    items: Sequence[Any]
    older: str | None
    newest: str | None
    problem: str | None
    filters: dict[str, str]

    @property
    def status(self) -> int:
        """Return the response's status."""
        return HTTPStatus.OK if self.problem is None else HTTPStatus.UNPROCESSABLE_ENTITY


async def read(visit: Visit, view: Callable[..., Page[Any]], names: Sequence[str]) -> ListPart:
    """Return the part of a list that the URL asks for; ``names`` are its filters."""
    filters = {name: visit.query[name] for name in names if name in visit.query}
    before = visit.query.get("before")
    section = visit.section

    def look(tx: sa.Connection) -> Page[Any]:
        return view(tx, **filters, before=before or paging.NEWEST, limit=LENGTH)

    try:
        page = await visit.site.database.read(look)
    except errors.UsageError as error:
        return ListPart((), None, None, str(error), filters)
    older = None if page.next is None else visit.url(section, **filters, before=page.next)
    return ListPart(page.items, older, visit.url(section, **filters) if before else None, None, filters)
