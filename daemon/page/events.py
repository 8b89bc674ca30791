"""/events: the journal, the newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon import triggers
from daemon.page import lists
from daemon.views import event_list

if TYPE_CHECKING:
    from starlette.responses import Response

    from daemon.page.visit import Visit


async def show(visit: Visit) -> Response:
    """Show the events that match the filters."""
    listing = await lists.read(visit, event_list.read, ("incident", "type", "trigger", "connection"))
    settings = visit.site.settings
    values = {
        "listing": listing,
        "now": visit.now,
        "types": list(triggers.REGISTRY),
        "triggers": list(settings.triggers),
        "connections": list(settings.connections),
    }
    return visit.page("events.html", values, listing.status)


ROUTES = (("GET", "/events", show),)
