"""The commands that act on PagerDuty and look into it: ``action``, ``actions``, and the pick-lists."""

from __future__ import annotations

from typing import Annotated

import typer

from daemon.cli import completion
from daemon.cli.options import LATEST, PLAIN, After, Config, Json, Limit, OfIncident, loaded

LONGEST_WAIT = 3600

OfConnection = Annotated[
    str | None, typer.Option(metavar="NAME", help="Which PagerDuty account; needed where there are several.")
]
Query = Annotated[str | None, typer.Argument(metavar="QUERY", help="Only those that hold this text.")]

actions = typer.Typer(help="Look at actions: what was asked for, and what came of it.", **PLAIN)


def action(
    ctx: typer.Context,
    operation: Annotated[
        str | None,
        typer.Argument(
            metavar="OPERATION",
            help="What to do: see --list.",
            autocompletion=completion.operations,
            show_default=False,
        ),
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Its parameters. key=@file reads a file, key=- standard input, key=@@text means @text.",
            autocompletion=completion.parameters,
            show_default=False,
        ),
    ] = None,
    *,
    config: Config = None,
    json: Json = False,
    list_all: Annotated[bool, typer.Option("--list", help="List the operations and their parameters.")] = False,
    connection: OfConnection = None,
    wait: Annotated[
        float, typer.Option(min=0, max=LONGEST_WAIT, metavar="SECONDS", help="Wait so long for its end.")
    ] = 0,
    notify: Annotated[
        list[str] | None,
        typer.Option(metavar="TARGET", help="Tell this target what came of it; may be given several times."),
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The same key and request again are the same action.")
    ] = None,
) -> None:
    """Change or read something at PagerDuty.

    Queues the action, which a running daemon carries out at once. Exit code 0: it is queued, or with --wait
    it succeeded; 1: it failed, or did not end in time; 2: wrong use, and nothing is queued.
    """
    if list_all:
        from daemon.cli import operations

        operations.show(json=json)
        return
    from daemon.cli import acting

    asked = acting.asked(operation, parameters or [], connection, notify, idempotency_key)
    acting.act(loaded(ctx, config), asked, wait=wait, json=json)


@actions.command("list")
def actions_list(
    ctx: typer.Context,
    *,
    config: Config = None,
    json: Json = False,
    limit: Limit = LATEST,
    after: After = None,
    state: Annotated[str | None, typer.Option(metavar="STATE", help="queued, running, succeeded or failed.")] = None,
    operation: Annotated[
        str | None,
        typer.Option(metavar="OPERATION", help="Only of this operation.", autocompletion=completion.operations),
    ] = None,
    incident: OfIncident = None,
    connection: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this connection.")] = None,
) -> None:
    """List actions, oldest first."""
    settings = loaded(ctx, config)
    from daemon.cli import queued

    filters = {"state": state, "operation": operation, "incident": incident, "connection": connection}
    queued.show(settings, filters, limit=limit, after=after, json=json)


@actions.command("show")
def actions_show(
    ctx: typer.Context,
    action_id: Annotated[str, typer.Argument(metavar="ID", help="The action's id: act_…")],
    *,
    config: Config = None,
    json: Json = False,
) -> None:
    """Show one action and what came of it."""
    settings = loaded(ctx, config)
    from daemon.cli import queued

    queued.show_one(settings, action_id, json=json)


def incidents(
    ctx: typer.Context,
    query: Query = None,
    *,
    config: Config = None,
    json: Json = False,
    connection: OfConnection = None,
) -> None:
    """List the newest open incidents, with their ids."""
    settings = loaded(ctx, config)
    from daemon.cli import picking

    picking.show(settings, "incidents", query, connection, json=json)


def users(
    ctx: typer.Context,
    query: Query = None,
    *,
    config: Config = None,
    json: Json = False,
    connection: OfConnection = None,
) -> None:
    """List users, with their ids."""
    settings = loaded(ctx, config)
    from daemon.cli import picking

    picking.show(settings, "users", query, connection, json=json)


def policies(
    ctx: typer.Context,
    query: Query = None,
    *,
    config: Config = None,
    json: Json = False,
    connection: OfConnection = None,
) -> None:
    """List escalation policies, with their ids."""
    settings = loaded(ctx, config)
    from daemon.cli import picking

    picking.show(settings, "escalation_policies", query, connection, json=json)
