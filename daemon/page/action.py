"""/actions/{id}: one action, its parameters, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon import errors, text
from daemon.views import action_list

if TYPE_CHECKING:
    from starlette.responses import Response

    from daemon.page.visit import Visit


async def show(visit: Visit) -> Response:
    """Show an action."""
    action_id = visit.path()
    item = await visit.site.database.read(action_list.find, action_id)
    if item is None:
        raise errors.NotFound(f"unknown action {text.quoted(action_id)} (it may have been pruned)")
    return visit.page("action.html", {"action": item, "now": visit.now})


ROUTES = (("GET", "/actions/{id}", show),)
