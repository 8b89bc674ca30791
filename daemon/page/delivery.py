"""/deliveries/{id}: every attempt, what was sent and what came back; sending it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon import errors
from daemon.control import deliveries as control
from daemon.delivery import preview
from daemon.views import delivery_list

if TYPE_CHECKING:
    from starlette.responses import Response

    from daemon.page.visit import Visit


async def show(visit: Visit) -> Response:
    """Show a delivery."""
    site = visit.site
    detail = await site.database.read(delivery_list.find, visit.number())
    if detail is None:
        raise errors.NotFound("unknown delivery (it may have been pruned)")
    target = site.settings.targets.get(detail.delivery.target)
    sent = None if target is None else await preview.render(site.database, target, detail.delivery.message_id)
    values = {
        "delivery": detail.delivery,
        "event": detail.event,
        "batch": detail.batch,
        "attempts": list(reversed(detail.attempts)),
        "configured": target is not None,
        "sent": sent if isinstance(sent, preview.Preview) else None,
        "unrenderable": None if sent is None or isinstance(sent, preview.Preview) else sent.reason,
        "now": visit.now,
    }
    return visit.page("delivery.html", values)


async def redeliver(visit: Visit) -> Response:
    """Send a delivery again."""
    site = visit.site
    item = await control.redeliver(site.database, site.settings, site.services, visit.number())
    return visit.see("deliveries", item.id)


ROUTES = (("GET", "/deliveries/{id}", show), ("POST", "/deliveries/{id}/redeliver", redeliver))
