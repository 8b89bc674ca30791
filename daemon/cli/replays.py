"""The commands ``replays list``, ``show`` and ``cancel``, and the progress of a replay."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC
from typing import TYPE_CHECKING, Annotated

import typer

from daemon import errors
from daemon.cli import lists, options, progress, terminal
from daemon.model import ReplayState

if TYPE_CHECKING:
    from datetime import datetime

    import sqlalchemy as sa

    from daemon.cli.terminal import TextTable
    from daemon.settings import Settings
    from daemon.storage.database import Database
    from daemon.views.replay_list import ReplayItem

POLL_SECONDS = 0.5
STYLES = {ReplayState.RUNNING: "cyan", ReplayState.FINISHED: "green", ReplayState.CANCELLED: "yellow"}

Number = Annotated[int, typer.Argument(metavar="ID", help="The replay's id.")]

app = typer.Typer(help="List, show and cancel replays.", **options.PLAIN)


@app.command("list")
def list_replays(
    ctx: typer.Context,
    *,
    config: options.Config = None,
    json: options.Json = False,
    limit: options.Limit = options.LATEST,
    after: options.After = None,
) -> None:
    """List replays, oldest first."""
    settings = options.load(ctx, config)
    from daemon.views import replay_list

    lists.show_page(settings, replay_list.read, _table, "replays", _why_empty, {}, json=json, limit=limit, after=after)


@app.command()
def show(
    ctx: typer.Context,
    number: Number,
    *,
    config: options.Config = None,
    json: options.Json = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the replay is finished.")] = False,
) -> None:
    """Show the progress of a replay."""
    settings = options.load(ctx, config)
    from daemon.cli.database import opened

    with opened(settings) as database:
        item = _read(database, number)
        if wait and item.finished_at is None:
            item = follow(database, item, quiet=json)
    report(item, json=json)


@app.command()
def cancel(ctx: typer.Context, number: Number, *, config: options.Config = None, json: options.Json = False) -> None:
    """Cancel a replay.

    Deliveries that it has not sent return to their previous state.
    """
    settings = options.load(ctx, config)
    from daemon.cli.database import opened
    from daemon.storage import replays

    with opened(settings) as database:
        _read(database, number)
        database.write_now(lambda tx: replays.cancel(tx, number, database.now(tx)))
        item = _read(database, number)
    _print(item, json=json)


def line(item: ReplayItem) -> str:
    """Return a replay's progress in one line."""
    skipped = f", {item.skipped:,} skipped" if item.skipped else ""
    pending = f", {item.pending:,} pending" if item.pending else ""
    counts = f"{item.delivered:,} of {item.total:,} delivered, {item.dead:,} dead{pending}{skipped}"
    return f"replay {item.id} {item.state}: {counts}"


def follow(database: Database, item: ReplayItem, *, quiet: bool) -> ReplayItem:
    """Show the progress until the replay is finished, and return it. Ctrl-C does not cancel the replay."""
    ended = item.delivered + item.dead
    showing = contextlib.nullcontext() if quiet else progress.shown(f"replay {item.id}", item.total, begun=ended)
    try:
        with showing as update:
            while item.finished_at is None:
                time.sleep(POLL_SECONDS)
                item = _read(database, item.id)
                if update is not None:
                    update(item.delivered + item.dead)
    except KeyboardInterrupt:
        show, cancel = f"pagerelay replays show {item.id} --wait", f"pagerelay replays cancel {item.id}"
        terminal.note(f"replay {item.id} continues (watch it: {show}; cancel it: {cancel})")
        raise
    return item


def report(item: ReplayItem, *, json: bool) -> None:
    """Print the progress of a replay. Raises typer.Exit with code 1 if it ended with dead deliveries or cancelled."""
    from daemon.cli.group import FAILED

    _print(item, json=json)
    if item.finished_at is not None and (item.dead or item.state is ReplayState.CANCELLED):
        raise typer.Exit(FAILED)


def _read(database: Database, replay_id: int) -> ReplayItem:
    from daemon.views import replay_list

    item = database.read_now(replay_list.find, replay_id)
    if item is None:
        raise errors.PagerelayError(f"unknown replay {replay_id} (it may have been pruned)")
    return item


def _print(item: ReplayItem, *, json: bool) -> None:
    if json:
        terminal.document(item)
    else:
        terminal.console().print(line(item), soft_wrap=True)


def _table(items: list[ReplayItem], now: datetime) -> TextTable:
    columns = ("Id", "State", "Trigger", "Target", "Only", "Since", "Total", "Delivered", "Dead", "Created")
    table = terminal.TextTable(*columns, right=("Id", "Total", "Delivered", "Dead"))
    for item in items:
        table.add_row(
            str(item.id),
            terminal.styled(item.state.value, STYLES[item.state]),
            item.filters.trigger or terminal.HYPHEN,
            item.filters.target or terminal.HYPHEN,
            item.filters.state or terminal.HYPHEN,
            item.filters.since.astimezone(UTC).strftime("%m-%d %H:%M"),
            f"{item.total:,}",
            f"{item.delivered:,}",
            f"{item.dead:,}",
            terminal.ago(item.created_at, now),
        )
    return table


def _why_empty(_tx: sa.Connection, _settings: Settings, _now: datetime) -> list[str]:
    return ["none was requested within the retention period (request one: pagerelay replay --since 2h)"]
