"""The commands ``incidents``, ``users`` and ``policies``: the ids for an action's parameters.

They come from PagerDuty, by way of a running daemon, which has a client already. Without a daemon, PagerDuty
is called from here, within the same call budget.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import socket
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daemon.cli import names, options, terminal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    import sqlalchemy as sa

    from daemon.cli.terminal import TextTable
    from daemon.model import Json
    from daemon.settings import Connection, Settings
    from daemon.storage.database import Database

PATIENCE = 20.0  # seconds that a daemon waits for PagerDuty
NOUNS = {"incidents": "open incidents", "users": "users", "escalation_policies": "escalation policies"}
STYLES = {"triggered": "bold red", "acknowledged": "yellow"}

Query = Annotated[str | None, typer.Argument(metavar="QUERY", help="Only entries containing this text.")]

incidents = typer.Typer(**options.PLAIN)
users = typer.Typer(**options.PLAIN)
policies = typer.Typer(**options.PLAIN)


@incidents.command("incidents")
def list_incidents(
    ctx: typer.Context,
    query: Query = None,
    *,
    config: options.Config = None,
    json: options.Json = False,
    connection: options.Connection = None,
) -> None:
    """List the newest open incidents, with their ids."""
    _show(ctx, config, "incidents", query, connection, json=json)


@users.command("users")
def list_users(
    ctx: typer.Context,
    query: Query = None,
    *,
    config: options.Config = None,
    json: options.Json = False,
    connection: options.Connection = None,
) -> None:
    """List users, with their ids."""
    _show(ctx, config, "users", query, connection, json=json)


@policies.command("policies")
def list_policies(
    ctx: typer.Context,
    query: Query = None,
    *,
    config: options.Config = None,
    json: options.Json = False,
    connection: options.Connection = None,
) -> None:
    """List escalation policies, with their ids."""
    _show(ctx, config, "escalation_policies", query, connection, json=json)


def _show(
    ctx: typer.Context, config: Path | None, kind: str, query: str | None, connection_name: str | None, *, json: bool
) -> None:
    settings = options.load(ctx, config)
    connection = settings.connections[names.choose_connection(settings, connection_name)]
    page = _through_api(settings, kind, query, connection) or _from_pagerduty(settings, kind, query, connection)
    if json:
        terminal.document(page)
    elif page[kind]:
        terminal.console().print(TABLES[kind](page[kind]))
    else:
        terminal.console().print(f"no {'matching ' if query else ''}{NOUNS[kind]}")
        reason = f'none contains "{query}"' if query else "PagerDuty lists none"
        terminal.note(f"connection {connection.name}: {reason} that the API key may see")


def _through_api(settings: Settings, kind: str, query: str | None, connection: Connection) -> Json | None:
    from daemon.cli import api_client

    api = api_client.connect(settings)
    if api is None:
        return None
    with contextlib.closing(api):
        path = f"/connections/{connection.name}/{kind}"
        page = api.request("GET", path, query={"query": query} if query else None, patience=PATIENCE)
        return page if page is not None and kind in page else None


def _from_pagerduty(settings: Settings, kind: str, query: str | None, connection: Connection) -> Json:
    """Return the list as the API would. Raises Temporary or Permanent if PagerDuty does not return it."""
    from daemon import config
    from daemon.cli.database import opened
    from daemon.runtime import log

    log.configure(settings.log.format, "warning", hide=config.secrets(settings))
    with opened(settings) as database:
        database.write_now(_ensure, database, connection.name)
        return {kind: asyncio.run(_pick(database, kind, query, connection)), "next": None}


def _ensure(tx: sa.Connection, database: Database, connection: str) -> None:
    """Create the connection's row, which holds its call budget, in case no daemon has run yet."""
    from daemon.storage import connections

    connections.ensure(tx, [connection], [], database.now(tx))


async def _pick(database: Database, kind: str, query: str | None, connection: Connection) -> list[Json]:
    from daemon import pagerduty
    from daemon.pagerduty import picks
    from daemon.pagerduty.permits import Permits

    lists: dict[str, Callable[..., Awaitable[Sequence[Any]]]] = {
        "incidents": picks.incidents,
        "users": picks.users,
        "escalation_policies": picks.escalation_policies,
    }
    instance = f"{socket.gethostname()}-{os.getpid()}-cli"
    permits = Permits(database, connection.name, connection.limits, instance, sleep=_Pause())
    client = pagerduty.Client(connection, permits)
    try:
        return [dataclasses.asdict(each) for each in await lists[kind](client, query)]
    finally:
        await client.close()


class _Pause:
    """A sleep until the next call is allowed, announced once."""

    def __init__(self) -> None:
        self._announced = False

    async def __call__(self, seconds: float) -> None:
        if not self._announced:
            terminal.note("the connection's call budget is used up: waiting for the next call")
            self._announced = True
        await asyncio.sleep(seconds)


def _incidents(items: list[Json]) -> TextTable:
    table = terminal.TextTable("Id", "Status", "Urgency", "Assigned to", "Summary")
    for each in items:
        status = _text(each, "status")
        table.add_row(
            _text(each, "id"),
            terminal.styled(status, STYLES.get(status, "")),
            _text(each, "urgency"),
            ", ".join(map(terminal.plain, each["assignees"])) or terminal.HYPHEN,
            _text(each, "summary"),
        )
    return table


def _users(items: list[Json]) -> TextTable:
    table = terminal.TextTable("Id", "Name", "E-mail")
    for each in items:
        table.add_row(_text(each, "id"), _text(each, "name"), _text(each, "email"))
    return table


def _policies(items: list[Json]) -> TextTable:
    table = terminal.TextTable("Id", "Name")
    for each in items:
        table.add_row(_text(each, "id"), _text(each, "name"))
    return table


def _text(item: Json, name: str) -> str:
    return terminal.plain(item.get(name) or terminal.HYPHEN)


TABLES: dict[str, Callable[[list[Json]], TextTable]] = {
    "incidents": _incidents,
    "users": _users,
    "escalation_policies": _policies,
}
