"""/actions: the queue, the newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon import actions
from daemon.model import ActionState
from daemon.page import lists
from daemon.views import action_list

if TYPE_CHECKING:
    from starlette.responses import Response

    from daemon.page.visit import Visit


async def show(visit: Visit) -> Response:
    """Show the actions that match the filters."""
    listing = await lists.read(visit, action_list.read, ("state", "operation", "connection", "incident"))
    values = {
        "listing": listing,
        "now": visit.now,
        "states": list(ActionState),
        "operations": list(actions.REGISTRY),
        "connections": list(visit.site.settings.connections),
    }
    return visit.page("actions.html", values, listing.status)


ROUTES = (("GET", "/actions", show),)
