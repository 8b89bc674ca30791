"""/triggers/{name}: what a trigger sends, to whom, and how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon import errors, text
from daemon.views import event_list, trigger_health

if TYPE_CHECKING:
    import sqlalchemy as sa
    from starlette.responses import Response

    from daemon.page.visit import Visit

LAST_EVENTS = 20


async def show(visit: Visit) -> Response:
    """Show a trigger."""
    name, site = visit.path("name"), visit.site
    known = site.settings.triggers
    if name not in known:
        raise errors.NotFound(f"unknown trigger {text.quoted(name)}{text.did_you_mean(name, known)}")

    def read(tx: sa.Connection) -> dict[str, object]:
        (status,) = trigger_health.read(tx, {name: known[name]})
        events = event_list.read(tx, trigger=name, limit=LAST_EVENTS, last=True).items
        return {"status": status, "events": list(reversed(events)), "now": site.database.now(tx)}

    values = await site.database.read(read)
    return visit.page("trigger.html", values | {"trigger": known[name]})


ROUTES = (("GET", "/triggers/{name}", show),)
