"""The command ``events``: the journal, oldest first, and with ``--follow`` whatever is added to it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daemon.cli import lists, options, terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.text import Text

    from daemon.settings import Settings
    from daemon.storage.database import Database
    from daemon.views.event_list import EventItem

FOLLOW_SECONDS = 1.0
WIDTHS = {"Type": 12, "Incident": 14}  # so that most events added later are aligned with the first
STYLES = {
    "incident.triggered": "bold red",
    "incident.acknowledged": "yellow",
    "incident.resolved": "green",
    "incident.assigned": "cyan",
    "incident.annotated": "magenta",
}

app = typer.Typer(**options.PLAIN)


@app.command()
def events(
    ctx: typer.Context,
    *,
    config: options.Config = None,
    json: options.Json = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing new events until Ctrl-C.")] = False,
    limit: options.Limit = options.LATEST,
    after: options.After = None,
    trigger: options.OfTrigger = None,
    incident: options.OfIncident = None,
    kind: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Only events of this type, such as incident.resolved.")
    ] = None,
    connection: options.OfConnection = None,
) -> None:
    """List what happened to incidents, oldest first."""
    settings = options.load(ctx, config)
    filters = {"trigger": trigger, "incident": incident, "type": kind, "connection": connection}
    show(settings, filters, limit=limit, after=after, follow=follow, json=json)


def show(
    settings: Settings, filters: dict[str, Any], *, limit: int, after: str | None, follow: bool, json: bool
) -> None:
    """Print the latest events, or those after a cursor; with ``follow``, keep printing until interrupted."""
    from daemon.cli.database import opened
    from daemon.views import event_list

    with opened(settings) as database:
        # Before the page is read, so that events added between the two are followed.
        cursors = _heads(database, settings, filters, after) if follow else {}
        page = database.read_now(event_list.read, **filters, limit=limit, after=after, last=after is None)
        if json and not follow:
            terminal.document(page)
            return
        write = _print_json if json else _text_writer(several=len(settings.connections) > 1)
        write(page.items)
        if not json and not page.items:
            why = database.read_now(lambda tx: lists.why_no_events(tx, settings, database.now(tx), filters, after))
            terminal.notes(["no events", *why])
        if follow:
            _follow(database, cursors | {item.connection: item.cursor for item in page.items}, filters, write)


def _heads(database: Database, settings: Settings, filters: dict[str, Any], after: str | None) -> dict[str, str]:
    """Return the cursor after which each connection is followed: only within one is nothing added before a cursor."""
    from daemon.views import event_list

    cursors = {}
    for name in [filters["connection"]] if filters["connection"] else settings.connections:
        latest = database.read_now(event_list.read, **filters | {"connection": name}, limit=1, last=True).items
        cursors[name] = after or (latest[0].cursor if latest else "0")
    return cursors


def _follow(
    database: Database,
    cursors: dict[str, str],
    filters: dict[str, Any],
    write: Callable[[Iterable[EventItem]], None],
) -> None:
    """Print new events for ever."""
    from daemon.views import event_list

    while True:
        new: list[EventItem] = []
        for name, cursor in cursors.items():
            items = database.read_now(event_list.read, **filters | {"connection": name}, after=cursor).items
            if items:
                cursors[name] = items[-1].cursor
            new += items
        write(sorted(new, key=lambda item: int(item.cursor)))
        if not new:
            time.sleep(FOLLOW_SECONDS)


def _print_json(items: Iterable[EventItem]) -> None:
    for item in items:
        terminal.line(item)


def _text_writer(*, several: bool) -> Callable[[Iterable[EventItem]], None]:
    """Return a function that prints events, below one header on a terminal and none in a pipe."""
    console = terminal.console()
    columns = ("Time", "Type", "Incident", *(("Connection",) if several else ()), "What")
    widths = dict(WIDTHS)
    header = console.is_terminal

    def write(items: Iterable[EventItem]) -> None:
        nonlocal widths, header
        items = list(items)
        if not items:
            return
        table = terminal.TextTable(*columns, least=widths, header=header)
        for item in items:
            table.add_row(*_cells(item, several=several))
        header = False
        widths = {name: width for name, width in table.widths().items() if name != "What"}
        console.print(table)

    return write


def _cells(item: EventItem, *, several: bool) -> list[str | Text]:
    from rich.text import Text

    return [
        Text(terminal.clock(item.occurred_at), "dim"),
        Text(item.type.removeprefix("incident."), STYLES.get(item.type, "")),
        terminal.plain(item.incident_id),
        *([item.connection] if several else []),
        _what(item),
    ]


def _what(item: EventItem) -> Text:
    """Return the incident's number and title, the note, to whom the incident was assigned, and who did it."""
    from rich.text import Text

    number = f"#{item.incident_number} " if item.incident_number else ""
    what = Text(number + terminal.plain(item.incident.get("title") or item.incident.get("summary") or ""))
    if item.note and item.note.get("content"):
        what.append(f': "{terminal.plain(item.note["content"])}"')
    if item.assignees:
        names = (each.get("summary") or each.get("id") for each in item.assignees)
        what.append(f" → {', '.join(map(terminal.plain, names))}")
    agent = (item.agent or {}).get("summary")
    if agent:
        what.append(f" ({terminal.plain(agent)})", "dim")
    return what
