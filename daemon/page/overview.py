"""/: whether all is well, what fails first, and everything else at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.views import event_list, overview, troubles

if TYPE_CHECKING:
    import sqlalchemy as sa
    from starlette.responses import Response

    from daemon.page.visit import Visit
    from daemon.views.event_list import EventItem

LAST_EVENTS = 10


async def show(visit: Visit) -> Response:
    """Show the overview."""
    settings, database = visit.site.settings, visit.site.database

    def read(tx: sa.Connection) -> tuple[overview.Overview, list[EventItem]]:
        parts = settings.connections, settings.triggers, settings.targets
        status = overview.read(tx, *parts, database.now(tx))
        return status, event_list.read(tx, limit=LAST_EVENTS, last=True).items

    status, events = await database.read(read)
    values = {
        "status": status,
        "now": status.now,
        "troubles": troubles.find(status),
        "targets": troubles.worst_first(status.targets),
        "connections": troubles.worst_first(status.connections),
        "triggers": troubles.worst_first(status.triggers),
        "events": list(reversed(events)),
        "waiting": sum(each.pending for each in status.targets),
    }
    return visit.page("overview.html", values)


ROUTES = (("GET", "/", show),)
