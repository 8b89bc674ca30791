"""/connections/{name}: polls, calls, lag, and what could not be understood."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon import errors, text
from daemon.views import connection_health, history, quarantine_list

if TYPE_CHECKING:
    import sqlalchemy as sa
    from starlette.responses import Response

    from daemon.page.visit import Visit

MOST_QUARANTINED = 20


async def show(visit: Visit) -> Response:
    """Show a connection."""
    name, site = visit.path("name"), visit.site
    known = site.settings.connections
    if name not in known:
        raise errors.NotFound(f"unknown connection {text.quoted(name)}{text.did_you_mean(name, known)}")
    triggers = [each for each in site.settings.triggers.values() if each.connection == name]

    def read(tx: sa.Connection) -> dict[str, object]:
        now = site.database.now(tx)
        (status,) = connection_health.read(tx, {name: known[name]}, triggers, now)
        return {
            "status": status,
            "now": now,
            "quarantined": quarantine_list.read(tx, name, MOST_QUARANTINED),
            "hours": history.of_connections(tx, [name], now),
            "slots": history.of_connections(tx, [name], now, by_hour=False),
        }

    values = await site.database.read(read)
    values |= {"connection": known[name], "triggers": [each.name for each in triggers]}
    return visit.page("connection.html", values)


ROUTES = (("GET", "/connections/{name}", show),)
