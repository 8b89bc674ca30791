"""The command ``events``: what happened, oldest first, and with ``--follow`` what happens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rich.text import Text

from daemon.cli import show as terminal
from daemon.cli import storage
from daemon.views import event_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from daemon.settings import Settings
    from daemon.storage.database import Database
    from daemon.views.event_list import EventItem

FOLLOW_SECONDS = 1.0
STYLES = {
    "incident.triggered": "bold red",
    "incident.acknowledged": "yellow",
    "incident.resolved": "green",
    "incident.assigned": "cyan",
    "incident.annotated": "magenta",
}


def show(
    settings: Settings, filters: Mapping[str, str | None], *, limit: int, after: str | None, follow: bool, json: bool
) -> None:
    """Print the latest events, or those after a cursor."""
    with storage.opened(settings) as database:
        given: dict[str, Any] = dict(filters)
        # Before the page is read: what comes between the two is new, too.
        places = _places(database, settings.connections, given, after) if follow else {}
        page = database.read_now(event_list.read, **given, limit=limit, after=after, last=after is None)
        if json and not follow:
            terminal.document(page)
            return
        write = _json_lines if json else _text_lines(several=len(settings.connections) > 1)
        write(page.items)
        if follow:
            _follow(database, places | {item.connection: item.cursor for item in page.items}, given, write)


def _places(
    database: Database, connections: Iterable[str], filters: dict[str, Any], after: str | None
) -> dict[str, str]:
    """Behind which event to go on. Each connection has a place of its own: only within one does nothing come late."""
    chosen = [filters["connection"]] if filters["connection"] else connections
    return {name: after or _head(database, filters | {"connection": name}) for name in chosen}


def _follow(
    database: Database,
    places: dict[str, str],
    filters: dict[str, Any],
    write: Callable[[Iterable[EventItem]], None],
) -> None:
    """Go on with what comes."""
    while True:
        new = [item for name in places for item in _new(database, name, places, filters)]
        write(sorted(new, key=lambda item: int(item.cursor)))
        if not new:
            time.sleep(FOLLOW_SECONDS)


def _head(database: Database, filters: dict[str, Any]) -> str:
    latest = database.read_now(event_list.read, **filters, limit=1, last=True).items
    return latest[0].cursor if latest else "0"


def _new(database: Database, name: str, places: dict[str, str], filters: dict[str, Any]) -> list[EventItem]:
    items = database.read_now(event_list.read, **filters | {"connection": name}, after=places[name]).items
    if items:
        places[name] = items[-1].cursor
    return items


def _json_lines(items: Iterable[EventItem]) -> None:
    for item in items:
        terminal.line(item)


def _text_lines(*, several: bool) -> Callable[[Iterable[EventItem]], None]:
    """One line for each event, cut at the terminal's edge."""
    console = terminal.console()

    def write(items: Iterable[EventItem]) -> None:
        for item in items:
            console.print(_line(item, several=several), no_wrap=True, overflow="ellipsis", crop=True)

    return write


def _line(item: EventItem, *, several: bool) -> Text:
    incident = item.incident
    title = incident.get("title") or incident.get("summary") or ""
    agent = (item.agent or {}).get("summary")
    made = Text.assemble(
        (terminal.clock(item.occurred_at), "dim"),
        "  ",
        (f"{item.type.removeprefix('incident.'):<12}", STYLES.get(item.type, "")),
        "  ",
        f"{terminal.plain(item.incident_id):<14}",
        "  ",
        f"{item.connection}  " if several else "",
        terminal.plain(title),
    )
    if item.note and item.note.get("content"):
        made.append(f': "{terminal.plain(item.note["content"])}"')
    if agent:
        made.append(f" ({terminal.plain(agent)})", "dim")
    return made
