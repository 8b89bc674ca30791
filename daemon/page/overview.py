"""/: the overview, with failures first."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from daemon.page import sparklines
from daemon.storage.history import ALL
from daemon.views import event_list, history, overview, troubles

if TYPE_CHECKING:
    from collections.abc import Iterable

    import sqlalchemy as sa
    from starlette.responses import Response

    from daemon.page.visit import Visit
    from daemon.views.troubles import Subject, Trouble

LAST_EVENTS = 10
MOST = 20  # targets and triggers that are shown; their own pages have them all
MOST_TROUBLES = 10  # of each subject
MOST_RECEIVERS = 10  # of a trigger


async def show(visit: Visit) -> Response:
    """Show the overview."""
    settings, database = visit.site.settings, visit.site.database

    def read(tx: sa.Connection) -> tuple[overview.Overview, dict[str, object]]:
        parts = settings.connections, settings.triggers, settings.targets
        status = overview.read(tx, *parts, database.now(tx))
        targets = troubles.worst_first(status.targets)[:MOST]
        names = [each.name for each in targets]
        problems = troubles.find(status)
        visible = list(_first_of_each(problems))
        hours = history.of_targets(tx, [*names, ALL], status.now)
        return status, {
            "troubles": problems,
            "visible_troubles": visible,
            "events": list(reversed(event_list.read(tx, limit=LAST_EVENTS, last=True).items)),
            "targets": targets,
            "last_hour": history.last_hour(tx, names, status.now),
            "sparklines": sparklines.of_targets({name: hours[name] for name in names}),
            "of_all": hours[ALL],
            "of_connections": history.of_connections(tx, settings.connections, status.now),
        }

    status, values = await database.read(read)
    values |= {
        "status": status,
        "now": status.now,
        "connections": troubles.worst_first(status.connections),
        "triggers": troubles.worst_first(status.triggers)[:MOST],
        "most_receivers": MOST_RECEIVERS,
        "waiting": sum(each.pending for each in status.targets),
        "dead": sum(each.dead for each in status.targets),
    }
    return visit.page("overview.html", values)


def _first_of_each(problems: Iterable[Trouble]) -> Iterable[Trouble]:
    """Yield the first troubles of each subject, in their order."""
    counts: Counter[Subject] = Counter()
    for each in problems:
        counts[each.subject] += 1
        if counts[each.subject] <= MOST_TROUBLES:
            yield each


ROUTES = (("GET", "/", show),)
