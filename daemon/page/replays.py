"""/replays: sending many deliveries again. The first form shows how many there are, the second one begins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

from daemon import errors, text
from daemon.control import replays as control
from daemon.model import DeliveryState
from daemon.page import lists
from daemon.views import replay_list

if TYPE_CHECKING:
    from starlette.responses import Response

    from daemon.page.visit import Visit

NAMES = ("since", "until", "trigger", "target", "state")
STATES = (DeliveryState.DEAD, DeliveryState.DELIVERED)


async def show(visit: Visit) -> Response:
    """Show the replays, and a form for a new one."""
    since = text.iso((visit.now - timedelta(hours=1)).replace(microsecond=0))
    return await _page(visit, {"since": since} | visit.query)


async def create(visit: Visit) -> Response:
    """Show how many deliveries match, or begin if that was confirmed."""
    site, fields = visit.site, await visit.form()
    try:
        new = _request(fields, visit.now)
        if fields.get("confirm") == "yes":
            item = await control.create(site.database, site.settings, site.services, new)
            return visit.see("replays", item.id)
        matches = await control.count(site.database, site.settings, new)
    except errors.UsageError as error:
        return await _page(visit, fields, str(error))
    confirmed = {name: fields.get(name, "") for name in NAMES} | {
        "since": text.iso(new.since),
        "until": text.iso(new.until or visit.now),
    }
    return visit.page("replay_confirm.html", {"matches": matches, "new": new, "fields": confirmed, "now": visit.now})


async def _page(visit: Visit, fields: dict[str, str], problem: str | None = None) -> Response:
    listing = await lists.read(visit, replay_list.read, ())
    settings = visit.site.settings
    values = {
        "listing": listing,
        "fields": {name: fields.get(name, "") for name in NAMES},
        "problem": problem,
        "triggers": list(settings.triggers),
        "targets": list(settings.targets),
        "states": STATES,
        "now": visit.now,
    }
    return visit.page("replays.html", values, listing.status if problem is None else HTTPStatus.UNPROCESSABLE_ENTITY)


def _request(fields: dict[str, str], now: datetime) -> control.NewReplay:
    """Return the request of a form; a time without an offset is in UTC. Raises InvalidRequest."""
    mistakes: list[errors.RequestMistake] = []
    times: dict[str, datetime | None] = {}
    for name in ("since", "until"):
        value = fields.get(name, "").strip()
        times[name] = moment = text.moment(value, now, UTC) if value else None
        if value and moment is None:
            mistakes.append(((name,), "must be a duration such as 2h, or a time such as 2026-11-01T00:00:00Z"))
        elif name == "since" and moment is None:
            mistakes.append(((name,), "is required"))
    state = fields.get("state") or None
    if state is not None and state not in STATES:
        mistakes.append((("state",), f"must be {' or '.join(STATES)}"))
    if mistakes:
        raise errors.InvalidRequest(mistakes)
    names = {name: fields.get(name) or None for name in ("trigger", "target")}
    chosen = None if state is None else DeliveryState(state)
    return control.NewReplay(times["since"] or now, times["until"] or now, names["trigger"], names["target"], chosen)


ROUTES = (("GET", "/replays", show), ("POST", "/replays", create))
