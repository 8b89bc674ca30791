"""/deliveries: the deliveries that match the filters, the newest first, and sending all of them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.page import lists
from daemon.views import delivery_list
from daemon.views.delivery_list import StateFilter

if TYPE_CHECKING:
    from starlette.responses import Response

    from daemon.page.visit import Visit

EVER = "1970-01-01T00:00:00Z"
WAITING = (StateFilter.PENDING, StateFilter.RETRYING)  # which are sent anyway


async def show(visit: Visit) -> Response:
    """Show the deliveries that match the filters."""
    listing = await lists.read(visit, delivery_list.read, ("target", "state", "trigger", "incident"))
    settings, filters = visit.site.settings, listing.filters
    values = {
        "listing": listing,
        "now": visit.now,
        "states": list(StateFilter),
        "targets": list(settings.targets),
        "triggers": list(settings.triggers),
        "ever": EVER,
        "can_replay": "incident" not in filters and filters.get("state") not in WAITING,
    }
    return visit.page("deliveries.html", values, listing.status)


ROUTES = (("GET", "/deliveries", show),)
