"""The command ``status``: the status of everything at a glance, failures first."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from daemon import text
from daemon.cli import agreement, options, replays, terminal, troubles
from daemon.views.troubles import worst_first

if TYPE_CHECKING:
    import sqlalchemy as sa
    from rich.console import RenderableType
    from rich.text import Text

    from daemon.cli.terminal import TextTable
    from daemon.settings import Settings
    from daemon.storage.database import Database
    from daemon.views.overview import Overview
    from daemon.views.trigger_health import TriggerStatus

WATCH_SECONDS = 2.0
MOST_TRIGGERS = 20  # that are shown without --all

app = typer.Typer(**options.PLAIN)


@app.command()
def status(
    ctx: typer.Context,
    *,
    config: options.Config = None,
    json: options.Json = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Repeat every two seconds until Ctrl-C.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Show all triggers, however many.")] = False,
) -> None:
    """Show the status of everything, failures first.

    Reads the database: the daemon need not be running.
    """
    settings = options.load(ctx, config)
    from daemon.cli.database import opened

    with opened(settings) as database:
        agreement.check_in(database, settings)
        if json:
            _print_json(database, settings, watch=watch)
        elif watch and sys.stdout.isatty():
            _watch_screen(database, settings, everything=everything)
        else:
            terminal.console().print(_rendered(_read(database, settings), everything=everything))
            while watch:
                time.sleep(WATCH_SECONDS)
                terminal.console().print("", _rendered(_read(database, settings), everything=everything))


def _watch_screen(database: Database, settings: Settings, *, everything: bool) -> None:
    from rich.live import Live

    with Live(console=terminal.console(), screen=True, auto_refresh=False) as live:
        while True:
            live.update(_rendered(_read(database, settings), everything=everything), refresh=True)
            time.sleep(WATCH_SECONDS)


def _print_json(database: Database, settings: Settings, *, watch: bool) -> None:
    if not watch:
        terminal.document(_read(database, settings))
    while watch:
        terminal.line(_read(database, settings))
        time.sleep(WATCH_SECONDS)


def _read(database: Database, settings: Settings) -> Overview:
    from daemon.views import overview

    def look(tx: sa.Connection) -> Overview:
        return overview.read(tx, settings.connections, settings.triggers, settings.targets, database.now(tx))

    return database.read_now(look)


def _rendered(status: Overview, *, everything: bool) -> RenderableType:
    from rich.console import Group

    triggers = worst_first(status.triggers)
    hidden = 0 if everything else max(len(triggers) - MOST_TRIGGERS, 0)
    blocks: list[list[RenderableType]] = [
        [_head(status)],
        [terminal.styled(f"! {terminal.plain(each)}", "bold red") for each in troubles.lines(status)],
        [f"note: {terminal.plain(each)}" for each in troubles.hints(status)],
        [_connections(status)],
        [_actions(status)],
        [_targets(status)],
        [f"{replays.line(each)} (see: pagerelay replays)" for each in status.replays],
        [_triggers(status, triggers[: len(triggers) - hidden])],
    ]
    if hidden:
        blocks[-1].append(terminal.styled(f"… and {hidden} more triggers (--all shows them)", "dim"))
    spaced = [each for block in blocks if block for each in ("", *block)]
    return Group(*spaced[1:])


def _head(status: Overview) -> str:
    events = f"{status.journal.events:,} event{'' if status.journal.events == 1 else 's'} in the journal"
    running = ", ".join(
        f"{each.hostname} for {terminal.since(each.started_at, status.now)}" for each in status.instances
    )
    return f"pagerelay {status.version}, {status.database}, {events}; running: {running or 'no daemon'}"


def _connections(status: Overview) -> TextTable:
    columns = ("Connection", "State", "Last poll", "Calls left", "Read up to", "Open", "Quarantined")
    table = terminal.TextTable(*columns, right=("Open", "Quarantined"))
    for each in worst_first(status.connections):
        table.add_row(
            each.name,
            terminal.health(each.health) if each.catch_up is None else terminal.styled("catching up", "yellow"),
            terminal.ago(each.last_poll_at, status.now),
            f"{each.budget.left} of {each.budget.calls} in {text.span(each.budget.period)}",
            terminal.ago(each.watermark, status.now),
            str(each.open_incidents),
            _alarming(each.quarantined),
        )
    return table


def _actions(status: Overview) -> TextTable:
    """Return the table of queued, running and failed actions of each connection."""
    recent = text.span(max((each.actions.failed_within for each in status.connections), default=0))
    columns = ("Actions of", "Queued", "Oldest", "Running", "Longest", f"Failed in {recent}")
    table = terminal.TextTable(*columns, right=columns[1:])
    for each in worst_first(status.connections):
        table.add_row(
            each.name,
            f"{each.actions.queued:,}",
            terminal.since(each.actions.oldest_queued_at, status.now),
            f"{each.actions.running:,}",
            terminal.since(each.actions.oldest_running_at, status.now),
            _alarming(each.actions.failed),
        )
    return table


def _targets(status: Overview) -> TextTable:
    columns = ("Target", "State", "Pending", "Oldest", "Dead", "Last success")
    table = terminal.TextTable(*columns, right=("Pending", "Oldest", "Dead"))
    for each in worst_first(status.targets):
        table.add_row(
            each.name,
            terminal.health(each.health),
            f"{each.pending:,}",
            terminal.since(each.oldest_pending_at, status.now),
            _alarming(each.dead),
            terminal.ago(each.last_success_at, status.now),
        )
    return table


def _triggers(status: Overview, triggers: list[TriggerStatus]) -> TextTable:
    columns = ("Trigger", "State", "On", "To", "Behind", "Last event")
    table = terminal.TextTable(*columns, right=("Behind",))
    for each in triggers:
        table.add_row(
            each.name,
            terminal.health(each.health),
            _names(each.on),
            ", ".join(each.to),
            f"{each.behind:,}",
            terminal.ago(each.last_event_at, status.now),
        )
    return table


def _names(on: tuple[str, ...]) -> str:
    """Return the event types of a trigger, shortened if there are several."""
    more = len(on) - 1
    return f"{on[0]} and {more} more" if more else on[0]


def _alarming(count: int) -> Text:
    return terminal.styled(f"{count:,}", "bold red" if count else "")
