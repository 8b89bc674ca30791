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
MOST = 25  # troubles, targets and triggers that are shown unless all are asked for
MOST_RECEIVERS = 10  # of a trigger


async def show(visit: Visit) -> Response:
    """Show the overview."""
    settings, database = visit.site.settings, visit.site.database

    most = None if "all" in visit.query else MOST

    def read(tx: sa.Connection) -> tuple[overview.Overview, dict[str, object]]:
        parts = settings.connections, settings.triggers, settings.targets
        status = overview.read(tx, *parts, database.now(tx))
        targets = troubles.worst_first(status.targets)[:most]
        names = [each.name for each in targets]
        problems = troubles.find(status)
        visible = problems[:most]
        failing = [each.name for each in visible if each.subject is Subject.TARGET]
        return status, {
            "troubles": problems,
            "visible_troubles": visible,
            "last_failed": delivery_list.last_failed(tx, failing) if failing else {},
            "events": list(reversed(event_list.read(tx, limit=LAST_EVENTS, last=True).items)),
            "targets": targets,
            "last_hour": history.last_hour(tx, names, status.now),
            "by_target": history.of_targets(tx, names[:MOST], status.now),
            "of_all": history.of_all(tx, status.now),
            "of_connections": history.of_connections(tx, settings.connections, status.now),
        }

    status, values = await database.read(read)
    values |= {
        "status": status,
        "now": status.now,
        "connections": troubles.worst_first(status.connections),
        "triggers": troubles.worst_first(status.triggers)[:most],
        "most_receivers": MOST_RECEIVERS,
        "waiting": sum(each.pending for each in status.targets),
        "dead": sum(each.dead for each in status.targets),
    }
    return visit.page("overview.html", values)


ROUTES = (("GET", "/", show),)
