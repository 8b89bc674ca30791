"""/events/{id}: one event, with what became of it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from daemon import errors, text
from daemon.views import delivery_list, event_list
from daemon.views.paging import Page

if TYPE_CHECKING:
    import sqlalchemy as sa
    from starlette.responses import Response

    from daemon.page.visit import Visit
    from daemon.views.delivery_list import DeliveryItem
    from daemon.views.event_list import EventItem

MOST_DELIVERIES = 50


async def show(visit: Visit) -> Response:
    """Show an event."""
    event_id = visit.path()

    def read(tx: sa.Connection) -> tuple[EventItem | None, Page[DeliveryItem]]:
        event = event_list.find(tx, event_id)
        return event, Page([], None) if event is None else delivery_list.read_of_event(tx, event_id, MOST_DELIVERIES)

    event, deliveries = await visit.site.database.read(read)
    if event is None:
        raise errors.NotFound(f"unknown event {text.quoted(event_id)} (it may have been pruned)")
    values = {
        "event": event,
        "deliveries": deliveries.items,
        "are_more": deliveries.next is not None,
        "document": dataclasses.asdict(event),
        "now": visit.now,
    }
    return visit.page("event.html", values)


ROUTES = (("GET", "/events/{id}", show),)
