"""/: the overview, with failures first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.views import delivery_list, event_list, history, overview, troubles
from daemon.views.troubles import Subject

if TYPE_CHECKING:
    import sqlalchemy as sa
    from starlette.responses import Response

    from daemon.page.visit import Visit

LAST_EVENTS = 10
MOST_TARGETS = 50  # that are shown unless all are asked for


async def show(visit: Visit) -> Response:
    """Show the overview."""
    settings, database = visit.site.settings, visit.site.database

    def read(tx: sa.Connection) -> tuple[overview.Overview, dict[str, object]]:
        parts = settings.connections, settings.triggers, settings.targets
        status = overview.read(tx, *parts, database.now(tx))
        targets = troubles.worst_first(status.targets)
        visible = targets if "all" in visit.query else targets[:MOST_TARGETS]
        names = [each.name for each in visible]
        problems = troubles.find(status)
        failing = [each.name for each in problems if each.subject is Subject.TARGET][:MOST_TARGETS]
        return status, {
            "troubles": problems,
            "last_failed": {name: delivery_list.last_failed(tx, name) for name in failing},
            "events": list(reversed(event_list.read(tx, limit=LAST_EVENTS, last=True).items)),
            "targets": visible,
            "last_hour": history.last_hour(tx, names, status.now),
            "by_target": history.of_targets(tx, names[:MOST_TARGETS], status.now),
            "of_all": history.of_all(tx, status.now),
            "of_connections": history.of_connections(tx, settings.connections, status.now),
        }

    status, values = await database.read(read)
    values |= {
        "status": status,
        "now": status.now,
        "connections": troubles.worst_first(status.connections),
        "triggers": troubles.worst_first(status.triggers),
        "waiting": sum(each.pending for each in status.targets),
    }
    return visit.page("overview.html", values)


ROUTES = (("GET", "/", show),)
