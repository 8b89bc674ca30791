"""The pick-lists ``incidents``, ``users`` and ``policies``: the ids that an action's parameters want.

They are PagerDuty's. A running daemon is asked for them, since it has a client already;
where none answers, PagerDuty is asked from here, within the same call budget.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
from typing import TYPE_CHECKING, Any

from rich.text import Text

from daemon import config, pagerduty
from daemon.cli import acting, remote, storage
from daemon.cli import show as terminal
from daemon.pagerduty import picks
from daemon.runtime import log
from daemon.storage import ratelimit, store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import sqlalchemy as sa
    from rich.table import Table

    from daemon.model import Json
    from daemon.pagerduty import Client
    from daemon.settings import Connection, Settings
    from daemon.storage.database import Database

PATIENCE = 20.0  # that a daemon has with PagerDuty
NOUNS = {"incidents": "open incidents", "users": "users", "escalation_policies": "escalation policies"}
LISTS: dict[str, Callable[[Client, str | None], Awaitable[Sequence[Any]]]] = {
    "incidents": picks.incidents,
    "users": picks.users,
    "escalation_policies": picks.escalation_policies,
}
STYLES = {"triggered": "bold red", "acknowledged": "yellow"}


def show(settings: Settings, kind: str, query: str | None, connection: str | None, *, json: bool) -> None:
    """Print a pick-list."""
    chosen = settings.connections[acting.connection_of(settings, connection)]
    found = _through_a_daemon(settings, kind, query, chosen) or _from_pagerduty(settings, kind, query, chosen)
    if json:
        terminal.document(found)
    elif found["items"]:
        terminal.console().print(TABLES[kind](found["items"]))
    else:
        terminal.console().print(f"no {NOUNS[kind]}{' like that' if query else ''}")


def _through_a_daemon(settings: Settings, kind: str, query: str | None, connection: Connection) -> Json | None:
    api = remote.of(settings)
    if api is None:
        return None
    try:
        path = f"/connections/{connection.name}/{kind}"
        answer = api.ask("GET", path, query={"query": query} if query else None, patience=PATIENCE)
        return answer if answer is not None and "items" in answer else None
    finally:
        api.close()


def _from_pagerduty(settings: Settings, kind: str, query: str | None, connection: Connection) -> Json:
    """The list, asked for from here. Raises Temporary or Permanent if that does not work."""
    log.configure(settings.log.format, "warning", hide=config.secrets(settings))
    with storage.opened(settings) as database:
        database.write_now(_make_known, database, connection.name)
        return {"items": asyncio.run(_asked(database, kind, query, connection)), "next": None}


def _make_known(tx: sa.Connection, database: Database, connection: str) -> None:
    """The budget is counted at the connection's row, which there is none of before a daemon has run."""
    store.ensure(tx, [connection], [], database.now(tx))


async def _asked(database: Database, kind: str, query: str | None, connection: Connection) -> list[Json]:
    instance = f"{socket.gethostname()}-{os.getpid()}-cli"
    permits = ratelimit.Permits(database, connection.name, connection.limits, instance, sleep=_Pause())
    client = pagerduty.Client(connection, permits)
    try:
        return [dataclasses.asdict(each) for each in await LISTS[kind](client, query)]
    finally:
        await client.close()


class _Pause:
    """Sleeping until there may be a permit, which is said once."""

    def __init__(self) -> None:
        self._said = False

    async def __call__(self, seconds: float) -> None:
        if not self._said:
            terminal.note("the connection's call budget is used up for the moment: waiting for the next call")
            self._said = True
        await asyncio.sleep(seconds)


# --- tables


def _incidents(found: list[Json]) -> Table:
    table = terminal.table("Id", "Status", "Urgency", "Assigned to", "Summary", cut=("Assigned to", "Summary"))
    for each in found:
        status = _text(each, "status")
        table.add_row(
            _text(each, "id"),
            Text(status, style=STYLES.get(status, "")),
            _text(each, "urgency"),
            ", ".join(map(terminal.plain, each["assignees"])) or terminal.HYPHEN,
            _text(each, "summary"),
        )
    return table


def _users(found: list[Json]) -> Table:
    table = terminal.table("Id", "Name", "E-mail", cut=("Name",))
    for each in found:
        table.add_row(_text(each, "id"), _text(each, "name"), _text(each, "email"))
    return table


def _policies(found: list[Json]) -> Table:
    table = terminal.table("Id", "Name", cut=("Name",))
    for each in found:
        table.add_row(_text(each, "id"), _text(each, "name"))
    return table


def _text(item: Json, name: str) -> str:
    return terminal.plain(item.get(name) or terminal.HYPHEN)


TABLES: dict[str, Callable[[list[Json]], Table]] = {
    "incidents": _incidents,
    "users": _users,
    "escalation_policies": _policies,
}
