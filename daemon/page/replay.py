"""/replays/{id}: how far a replay is, and cancelling it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon import errors
from daemon.control import replays as control
from daemon.views import replay_list

if TYPE_CHECKING:
    from starlette.responses import Response

    from daemon.page.visit import Visit


async def show(visit: Visit) -> Response:
    """Show a replay."""
    item = await visit.site.database.read(replay_list.find, visit.number())
    if item is None:
        raise errors.NotFound("unknown replay (it may have been pruned)")
    return visit.page("replay.html", {"replay": item, "now": visit.now})


async def cancel(visit: Visit) -> Response:
    """Cancel a replay."""
    item = await control.cancel(visit.site.database, visit.site.services, visit.number())
    return visit.see("replays", item.id)


ROUTES = (("GET", "/replays/{id}", show), ("POST", "/replays/{id}/cancel", cancel))
