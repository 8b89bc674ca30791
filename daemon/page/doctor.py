"""/doctor: the checks of ``pagerelay doctor`` at the press of a button, made by the daemon itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.control import doctor

if TYPE_CHECKING:
    from starlette.responses import Response

    from daemon.page.visit import Visit


async def show(visit: Visit) -> Response:
    """Show the button."""
    return visit.page("doctor.html", {"checks": None})


async def examine(visit: Visit) -> Response:
    """Make the checks, and show what they found, what needs attention first."""
    site = visit.site
    examination = doctor.Examination(
        site.settings, site.database, hints=site.services.hints, clients=site.services.clients or None
    )
    async with site.examining:
        diagnosis = await doctor.examine(examination)
    order = [doctor.Status.FAIL, doctor.Status.WARN, doctor.Status.OK]
    checks = sorted(diagnosis.checks, key=lambda each: order.index(each.status))
    values = {"checks": checks, "wrong": [each for each in checks if each.status is not doctor.Status.OK]}
    return visit.page("doctor.html", values)


ROUTES = (("GET", "/doctor", show), ("POST", "/doctor", examine))
