"""/targets/{name}: a target's state and why, its deliveries; pausing, resuming and testing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.control import targets as control
from daemon.views import delivery_list, history, target_health
from daemon.views.delivery_list import StateFilter

if TYPE_CHECKING:
    import sqlalchemy as sa
    from starlette.responses import Response

    from daemon.page.visit import Visit

LAST_DELIVERIES = 20


async def show(visit: Visit) -> Response:
    """Show a target."""
    name, site = visit.path("name"), visit.site
    control.must_be_known(name, site.settings)
    target = site.settings.targets[name]

    def read(tx: sa.Connection) -> dict[str, object]:
        now = site.database.now(tx)
        (status,) = target_health.read(tx, {name: target}, now)
        recent = delivery_list.read(tx, target=name, limit=LAST_DELIVERIES, last=True).items
        retrying = delivery_list.read(
            tx, target=name, state=StateFilter.RETRYING, limit=LAST_DELIVERIES, last=True
        ).items
        return {
            "status": status,
            "now": now,
            "deliveries": list(reversed(recent)),
            "retrying": list(reversed(retrying)),
            "last_hour": history.last_hour(tx, [name], now).get(name),
            "hours": history.of_target(tx, name, now),
        }

    values = await site.database.read(read)
    key = visit.query.get("test")
    values |= {
        "target": target,
        "triggers": [each.name for each in site.settings.triggers.values() if name in each.to],
        "trials": None if key is None else site.samples.find(name, key),
        "tested": key is not None,
    }
    return visit.page("target.html", values)


async def pause(visit: Visit) -> Response:
    """Pause a target."""
    name = visit.path("name")
    await control.pause(visit.site.database, visit.site.settings, visit.site.services, name)
    return await visit.done("targets", name)


async def resume(visit: Visit) -> Response:
    """Resume a target."""
    name = visit.path("name")
    await control.resume(visit.site.database, visit.site.settings, visit.site.services, name)
    return await visit.done("targets", name)


async def test(visit: Visit) -> Response:
    """Send samples to a target, and show what came back."""
    name = visit.path("name")
    trials = await control.test(visit.site.settings, name)
    return visit.see("targets", name, test=visit.site.samples.keep(name, trials))


ROUTES = (
    ("GET", "/targets/{name}", show),
    ("POST", "/targets/{name}/pause", pause),
    ("POST", "/targets/{name}/resume", resume),
    ("POST", "/targets/{name}/test", test),
)
