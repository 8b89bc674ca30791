"""/targets: all targets, the worst first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.page import status_list
from daemon.views import history, target_health

if TYPE_CHECKING:
    import sqlalchemy as sa
    from starlette.responses import Response

    from daemon.page.visit import Visit


async def show(visit: Visit) -> Response:
    """Show a part of the targets."""
    settings, database = visit.site.settings, visit.site.database

    def read(tx: sa.Connection) -> dict[str, object]:
        now = database.now(tx)
        listing = status_list.part(visit, target_health.read(tx, settings.targets, now))
        names = [each.name for each in listing.items]
        return {"listing": listing, "now": now, "last_hour": history.last_hour(tx, names, now)}

    return visit.page("targets.html", await database.read(read))


ROUTES = (("GET", "/targets", show),)
