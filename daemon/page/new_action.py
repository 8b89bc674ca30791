"""/actions/new: a form for each operation, made from the registry, with pick-lists; and queueing what it says."""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from daemon import actions, errors
from daemon.control import actions as control
from daemon.page import choices

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

    from daemon.page.choices import ChoiceList
    from daemon.page.visit import Visit

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
    name = visit.query.get("operation")
    if name is None:
        return visit.page("operations.html", {"operations": list(actions.REGISTRY.values())})
    return await _form(visit, control.operation_named(name), visit.query, {})


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
    try:
        item = await _accept(visit, order)
    except errors.InvalidRequest as error:
        problems = {place[-1]: message for place, message in error.mistakes}
        return await _form(visit, operation, fields, problems)
    return visit.see("actions", item)


async def offer(visit: Visit) -> Response:
    """Return the options of a pick-list that contain what was typed."""
    kind, connection = visit.query.get("kind", ""), visit.query.get("connection", "")
    if not visit.may_change or kind not in choices.KINDS or connection not in visit.site.settings.connections:
        raise errors.NotFound("unknown list")
    found = await visit.site.choices.read(connection, kind, visit.query.get("text", ""))
    return visit.page("options.html", {"choices": found.choices})


async def _accept(visit: Visit, order: control.ActionOrder) -> str:
    """Queue an action; return its id. The same form sent twice is one action, a changed one is another."""
    site = visit.site
    try:
        return (await control.queue(site.database, site.settings, site.services, order)).id
    except errors.KeyReused:
        again = control.ActionOrder(order.operation, order.parameters, order.connection)
        return (await control.queue(site.database, site.settings, site.services, again)).id


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
    fields = [_field(operation, name, values, problems, lists) for name in names]
    shown = {
        "operation": operation,
        "fields": fields,
        "connection": connection,
        "connections": known,
        "searches": searches,
        "problems": problems,
        "others": [f"{name} {problem}" for name, problem in problems.items() if name not in names],
        "key": f"page-{secrets.token_urlsafe(16)}",
    }
    return visit.page("new_action.html", shown, HTTPStatus.UNPROCESSABLE_ENTITY if problems else HTTPStatus.OK)


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
    return Field(name, _label(name), kind, schema.get("description"), value, problems.get(name), pick_list, list_kind)


def _label(name: str) -> str:
    """Return a parameter's name in words: ``incidentId`` is Incident, ``service_key`` Service key."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.removesuffix("Id")).replace("_", " ").lower()
    return words[:1].upper() + words[1:]


ROUTES = (
    ("GET", "/actions/new", show),
    ("GET", "/actions/new/options", offer),
    ("POST", "/actions/{operation}", queue),
)
