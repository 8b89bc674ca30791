"""The commands ``actions list``, ``actions show`` and ``actions cancel``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from daemon import errors
from daemon.cli import completion, lists, options, terminal
from daemon.model import ActionState, Outcome

if TYPE_CHECKING:
    from datetime import datetime

    import sqlalchemy as sa
    from rich.text import Text

    from daemon.cli.terminal import TextTable
    from daemon.settings import Settings
    from daemon.views.action_list import ActionItem

STYLES = {
    ActionState.QUEUED: "yellow",
    ActionState.RUNNING: "cyan",
    ActionState.SUCCEEDED: "green",
    ActionState.FAILED: "bold red",
}
SHORT = {Outcome.DONE: "done", Outcome.ALREADY_DONE: "already", Outcome.OVERTAKEN: "too late"}

app = typer.Typer(help="List, show and cancel actions.", **options.PLAIN)


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
    from daemon.views import action_list

    if operation is not None:
        from daemon.cli import operations

        operations.find(operation)
    filters = {"state": state, "operation": operation, "incident": incident, "connection": connection}
    lists.show_page(
        settings, action_list.read, _table, "actions", _why_empty, filters, json=json, limit=limit, after=after
    )


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
    from daemon.views import action_list

    item = lists.find(settings, action_list.find, "action", action_id)
    if json:
        terminal.document(item)
    else:
        _print_facts(item)


@app.command()
def cancel(
    ctx: typer.Context,
    action_ids: Annotated[list[str] | None, typer.Argument(metavar="ID…", help="The actions' ids: act_…")] = None,
    *,
    config: options.Config = None,
    connection: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="All queued actions of this connection, even one that is no longer configured."
        ),
    ] = None,
) -> None:
    """Cancel queued actions.

    A cancelled action ends as failed, with the code cancelled.
    """
    if bool(action_ids) == bool(connection):
        raise errors.UsageError("requires either action ids or --connection")
    settings = options.load(ctx, config)
    from daemon.cli import outcome
    from daemon.cli.database import opened
    from daemon.control import actions as control

    with opened(settings) as database:
        ids = action_ids or database.read_now(_queued, connection or "")
        for action_id in ids:
            item, _ = database.write_now(control.cancel_in, database, action_id)
            terminal.console().print(outcome.line(item), soft_wrap=True)
    if not ids:
        terminal.console().print(f"no action of the connection {terminal.plain(connection)} is queued")


def _queued(tx: sa.Connection, connection: str) -> list[str]:
    from daemon.storage import action_queue

    return action_queue.queued(tx, connection)


def _table(items: list[ActionItem], now: datetime) -> TextTable:
    from daemon.cli import outcome

    table = terminal.TextTable("State", "Operation", "Incident", "Id", "Created", "Result")
    for item in items:
        table.add_row(
            _state(item),
            item.operation,
            terminal.plain(item.incident_id or terminal.HYPHEN),
            item.id,
            terminal.ago(item.created_at, now),
            outcome.short(item),
        )
    return table


def _why_empty(_tx: sa.Connection, _settings: Settings, _now: datetime) -> list[str]:
    return ["none was requested within the retention period (request one: pagerelay action --list)"]


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
