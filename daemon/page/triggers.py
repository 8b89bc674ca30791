"""/triggers: all triggers, the worst first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.page import status_list
from daemon.page.overview import MOST_RECEIVERS
from daemon.views import trigger_health

if TYPE_CHECKING:
    from starlette.responses import Response

    from daemon.page.visit import Visit


async def show(visit: Visit) -> Response:
    """Show a part of the triggers."""
    settings = visit.site.settings
    triggers = await visit.site.database.read(trigger_health.read, settings.triggers)
    values = {"listing": status_list.part(visit, triggers), "now": visit.now, "most_receivers": MOST_RECEIVERS}
    return visit.page("triggers.html", values)


ROUTES = (("GET", "/triggers", show),)
