"""/actions/new: a form for each operation, made from the registry, with pick-lists; and queueing what it says."""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from daemon import actions, errors, text
from daemon.control import actions as control
from daemon.page import choices, last_user
from daemon.page.rendering import words
from daemon.views import action_list, event_list, incident_list

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sqlalchemy as sa
    from starlette.responses import Response

    from daemon.page.choices import ChoiceList
    from daemon.page.visit import Visit
    from daemon.views.action_list import ActionItem
    from daemon.views.event_list import EventItem

LONG = 255  # characters; longer texts get several lines
KEY = re.compile(r"page-[A-Za-z0-9_-]{16,64}")


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter as a form shows it. ``kind``: choice, secret, number, lines or text."""

    name: str
    label: str
    kind: str
    hint: str | None
    value: str
    problem: str | None
    choices: ChoiceList | None
    list_kind: str


async def show(visit: Visit) -> Response:
    """Show the operations, or the form of one."""
    if (again := visit.query.get("again")) is not None:
        return await _again(visit, again)
    name = visit.query.get("operation")
    if name is None:
        return visit.page("operations.html", {"operations": list(actions.REGISTRY.values())})
    return await _form(visit, control.operation_named(name), visit.query, {})


async def _again(visit: Visit, action_id: str) -> Response:
    """Show the form that an action came from, filled again; its secrets are gone."""
    item = await visit.site.database.read(action_list.find, action_id)
    if item is None:
        raise errors.NotFound(f"unknown action {text.quoted(action_id)} (it may have been pruned)")
    operation = control.operation_named(item.operation)
    values = {name: str(value) for name, value in item.parameters.items() if name not in operation.secret}
    return await _form(visit, operation, values | {"connection": item.connection}, {})


async def queue(visit: Visit) -> Response:
    """Queue an action, or show the form again with what is wrong."""
    operation = control.operation_named(visit.path("operation"))
    fields = await visit.form()
    if "look_up" in fields:
        return await _form(visit, operation, fields, {}, searches=True)
    values = {name: fields[name].strip() for name in operation.parameters.model_fields if fields.get(name, "").strip()}
    key = fields.get("key", "")
    order = control.ActionOrder(
        operation, values, fields.get("connection") or None, idempotency_key=key if KEY.fullmatch(key) else None
    )
    if problems := await _names(visit, fields.get("connection", ""), values):
        return await _form(visit, operation, fields, problems, searches=True)
    try:
        item = await _accept(visit, order)
    except errors.InvalidRequest as error:
        problems = {place[-1]: message for place, message in error.mistakes}
        return await _form(visit, operation, fields, problems, searches=True)
    response = visit.see("actions", item.id)
    if user := values.get(last_user.PARAMETER):
        last_user.keep(response, visit, item.connection, user)
    return response


async def _names(visit: Visit, connection: str, values: Mapping[str, str]) -> dict[str, str]:
    """Return the problems of fields in which somebody has typed a user's name and not chosen the user.

    PagerDuty's ids have no small letters so far, but only its list of users can tell.
    """
    problems = {}
    for name, value in values.items():
        if choices.OF_PARAMETER.get(name) != "users" or value == value.upper():
            continue
        known = visit.site.settings.connections
        listed = await visit.site.choices.read(connection if connection in known else next(iter(known)), "users", value)
        if listed.problem is None and listed.label(value) is None:
            problems[name] = "looks like a name: choose the user from the list, or type an id such as PXPGF42"
    return problems


async def offer(visit: Visit) -> Response:
    """Return the options of a pick-list that contain what was typed."""
    kind, connection = visit.query.get("kind", ""), visit.query.get("connection", "")
    if not visit.may_change or kind not in choices.KINDS or connection not in visit.site.settings.connections:
        raise errors.NotFound("unknown list")
    found = await visit.site.choices.read(connection, kind, visit.query.get("text", ""))
    return visit.page("options.html", {"choices": found.choices})


async def _accept(visit: Visit, order: control.ActionOrder) -> ActionItem:
    """Queue an action. The same form sent twice is one action, a changed one is another."""
    site = visit.site
    try:
        return await control.queue(site.database, site.settings, site.services, order)
    except errors.KeyReused:
        again = control.ActionOrder(order.operation, order.parameters, order.connection)
        return await control.queue(site.database, site.settings, site.services, again)


async def _form(
    visit: Visit,
    operation: actions.Operation,
    values: Mapping[str, str],
    problems: Mapping[str, str],
    *,
    searches: bool = False,
) -> Response:
    """Show the form of an operation; ``searches`` narrows its pick-lists to what the fields contain."""
    known = list(visit.site.settings.connections)
    chosen = values.get("connection", "")
    connection = chosen if chosen in known else known[0]
    names = list(operation.parameters.model_fields)
    kinds = {name: choices.OF_PARAMETER[name] for name in names if name in choices.OF_PARAMETER}
    read = visit.site.choices.read
    await asyncio.gather(*(read(connection, kind) for kind in sorted(set(kinds.values()))))  # kept for what follows
    lists = {
        name: await read(connection, kind, values.get(name, "") if searches else "") for name, kind in kinds.items()
    }
    if last_user.PARAMETER not in values:
        values = dict(values) | {last_user.PARAMETER: last_user.read(visit, connection)}
    fields = [_field(operation, name, values, problems, lists) for name in names]
    shown = {
        "operation": operation,
        "subject": await _subject(visit, values.get("incidentId", ""), lists.get("incidentId")),
        "fields": fields,
        "connection": connection,
        "connections": known,
        "searches": searches,
        "problems": problems,
        "others": [f"{name} {problem}" for name, problem in problems.items() if name not in names],
        "key": f"page-{secrets.token_urlsafe(16)}",
    }
    return visit.page("new_action.html", shown, HTTPStatus.UNPROCESSABLE_ENTITY if problems else HTTPStatus.OK)


async def _subject(visit: Visit, incident: str, listed: ChoiceList | None) -> str | None:
    """Return number and title of the incident that a form is about, from the pick-list or the journal, if known."""
    if listed is not None and (label := listed.label(incident)):
        return label

    def read(tx: sa.Connection) -> list[EventItem]:
        return event_list.read(tx, incident=incident, limit=1, last=True).items

    try:
        events = await visit.site.database.read(read) if incident else []
    except errors.UsageError:  # not an id
        return None
    if not events:
        return None
    known = incident_list.of_event(events[0])
    return f"#{known.number} {known.title}" if known.number else known.title


def _field(
    operation: actions.Operation,
    name: str,
    values: Mapping[str, str],
    problems: Mapping[str, str],
    lists: Mapping[str, ChoiceList],
) -> Field:
    schema = operation.parameters.model_json_schema()["properties"][name]
    pick_list = lists.get(name)
    kind = "text"
    if name in operation.secret:
        kind = "secret"
    elif pick_list is not None:
        kind = "choice"
    elif schema.get("type") == "integer":
        kind = "number"
    elif schema.get("maxLength", 0) > LONG:
        kind = "lines"
    value = "" if kind == "secret" else values.get(name, "")
    list_kind = choices.OF_PARAMETER.get(name, "")
    return Field(
        name,
        words(name.removesuffix("Id")),
        kind,
        schema.get("description"),
        value,
        problems.get(name),
        pick_list,
        list_kind,
    )


ROUTES = (
    ("GET", "/actions/new", show),
    ("GET", "/actions/new/options", offer),
    ("POST", "/actions/{operation}", queue),
)
