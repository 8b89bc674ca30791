"""The commands ``actions list`` and ``actions show``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from daemon import errors
from daemon.cli import completion, options, terminal
from daemon.model import ActionState, Outcome

if TYPE_CHECKING:
    from datetime import datetime

    from rich.text import Text

    from daemon.views.action_list import ActionItem

WIDE = 100  # columns of a terminal from which on there is room for all columns of the table
STYLES = {
    ActionState.QUEUED: "yellow",
    ActionState.RUNNING: "cyan",
    ActionState.SUCCEEDED: "green",
    ActionState.FAILED: "bold red",
}
SHORT = {Outcome.DONE: "done", Outcome.ALREADY_DONE: "already", Outcome.OVERTAKEN: "too late"}

app = typer.Typer(help="List and show actions and their results.", **options.PLAIN)


@app.command("list")
def list_actions(
    ctx: typer.Context,
    *,
    config: options.Config = None,
    json: options.Json = False,
    limit: options.Limit = options.LATEST,
    after: options.After = None,
    state: Annotated[str | None, typer.Option(metavar="STATE", help="queued, running, succeeded or failed.")] = None,
    operation: Annotated[
        str | None,
        typer.Option(metavar="OPERATION", help="Only actions of this operation.", autocompletion=completion.operations),
    ] = None,
    incident: options.OfIncident = None,
    connection: options.OfConnection = None,
) -> None:
    """List actions, oldest first."""
    settings = options.load(ctx, config)
    from daemon.cli import database
    from daemon.views import action_list

    if operation is not None:
        from daemon.cli import operations

        operations.find(operation)
    filters = {"state": state, "operation": operation, "incident": incident, "connection": connection}
    page, now = database.read_page(settings, action_list.read, limit=limit, after=after, **filters)
    if json:
        terminal.document(page)
    elif page.items:
        _print_table(page.items, now)
    else:
        terminal.console().print("no actions")


@app.command()
def show(
    ctx: typer.Context,
    action_id: Annotated[str, typer.Argument(metavar="ID", help="The action's id: act_…")],
    *,
    config: options.Config = None,
    json: options.Json = False,
) -> None:
    """Show one action and its result."""
    settings = options.load(ctx, config)
    from daemon.cli.database import opened
    from daemon.views import action_list

    with opened(settings) as database:
        item = database.read_now(action_list.find, action_id)
    if item is None:
        raise errors.PagerelayError(f"unknown action {terminal.plain(action_id)} (it may have been pruned)")
    if json:
        terminal.document(item)
    else:
        _print_facts(item)


def _print_table(items: list[ActionItem], now: datetime) -> None:
    """Print one line for each action; on a narrow terminal without age and result."""
    from daemon.cli import outcome

    console = terminal.console()
    wide = console.width >= WIDE
    columns = ("State", "Operation", "Incident", "Id", *(("Created", "Result") if wide else ()))
    table = terminal.table(*columns, cut=("Result",))
    for item in items:
        cells: list[str | Text] = [
            _state(item),
            item.operation,
            terminal.plain(item.incident_id or terminal.HYPHEN),
            item.id,
        ]
        table.add_row(*cells, *((terminal.ago(item.created_at, now), outcome.short(item)) if wide else ()))
    console.print(table)


def _print_facts(item: ActionItem) -> None:
    from daemon.cli import outcome

    facts: list[tuple[str, str | Text | None]] = [
        ("Action", item.id),
        ("State", _state(item)),
        ("Operation", item.operation),
        ("Connection", item.connection),
        ("Parameters", " ".join(f"{key}={terminal.plain(value)}" for key, value in item.parameters.items())),
        ("Notify", ", ".join(item.notify) or None),
        ("Created", terminal.clock(item.created_at)),
        ("Started", _clock(item.started_at)),
        ("Attempts", str(item.tries)),
        ("Next attempt", _clock(item.next_try_at)),
        ("Finished", _clock(item.finished_at)),
        ("Result", (outcome.failure(item) if item.error else outcome.short(item)) or None),
    ]
    terminal.print_facts(facts)


def _clock(moment: datetime | None) -> str | None:
    return None if moment is None else terminal.clock(moment)


def _state(item: ActionItem) -> Text:
    """Return the state or, for an action that succeeded, its outcome."""
    word = item.state.value if item.outcome is None else SHORT[item.outcome]
    return terminal.styled(word, STYLES[item.state])
