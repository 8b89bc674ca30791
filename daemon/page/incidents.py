"""/incidents: the incidents that are open, the one whose status changed last first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.page import lists
from daemon.views import incident_list

if TYPE_CHECKING:
    from starlette.responses import Response

    from daemon.page.visit import Visit


async def show(visit: Visit) -> Response:
    """Show the open incidents that match the filters."""
    listing = await lists.read(visit, incident_list.read_open, ("status", "connection"))
    values = {
        "listing": listing,
        "now": visit.now,
        "statuses": list(incident_list.OPEN),
        "connections": list(visit.site.settings.connections),
    }
    return visit.page("incidents.html", values, listing.status)


ROUTES = (("GET", "/incidents", show),)
