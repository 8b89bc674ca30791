"""The commands that change when deliveries are made: ``deliveries redeliver``, ``replay``, ``replays``, ``targets``."""

from __future__ import annotations

from typing import Annotated

import typer

from daemon.cli.options import LATEST, PLAIN, After, Config, Json, Limit, OfTrigger, loaded

replays = typer.Typer(help="Look at replays, and cancel them.", add_completion=False, **PLAIN)
targets = typer.Typer(help="Look at targets, pause, resume and test them.", add_completion=False, **PLAIN)

Number = Annotated[int, typer.Argument(metavar="ID", help="The replay's number.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The target's name.")]


def redeliver(
    ctx: typer.Context,
    numbers: Annotated[list[int], typer.Argument(metavar="ID", help="The deliveries' numbers.")],
    *,
    config: Config = None,
) -> None:
    """Send deliveries again, with the same ids."""
    settings = loaded(ctx, config)
    from daemon.cli import outbox

    outbox.redeliver(settings, numbers)


def replay(
    ctx: typer.Context,
    *,
    config: Config = None,
    json: Json = False,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="What was made since then: 2h (before now), or 2026-11-01T00:00:00Z.")
    ],
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Up to then; without it, up to now.")] = None,
    trigger: OfTrigger = None,
    target: Annotated[str | None, typer.Option(metavar="NAME", help="Only for this target.")] = None,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help="Only what is delivered, or dead; without it, both.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for its end.")] = True,
) -> None:
    """Send again what was delivered or is dead.

    The same messages with the same ids, to the same targets. A running daemon carries it out, behind what
    is new. Exit code 0: all of it is delivered (with --no-wait: it is accepted); 1: something is dead.
    """
    settings = loaded(ctx, config)
    from daemon.cli import replaying

    filters = {"trigger": trigger, "target": target, "state": state}
    replaying.replay(settings, since, until, filters, wait=wait, json=json)


@replays.command("list")
def replays_list(
    ctx: typer.Context,
    *,
    config: Config = None,
    json: Json = False,
    limit: Limit = LATEST,
    after: After = None,
) -> None:
    """List replays, oldest first."""
    settings = loaded(ctx, config)
    from daemon.cli import replaying

    replaying.show(settings, limit=limit, after=after, json=json)


@replays.command("show")
def replays_show(
    ctx: typer.Context,
    number: Number,
    *,
    config: Config = None,
    json: Json = False,
    wait: Annotated[bool, typer.Option("--wait", help="Go on until its end.")] = False,
) -> None:
    """Show how far a replay has come."""
    settings = loaded(ctx, config)
    from daemon.cli import replaying

    replaying.show_one(settings, number, wait=wait, json=json)


@replays.command("cancel")
def replays_cancel(ctx: typer.Context, number: Number, *, config: Config = None, json: Json = False) -> None:
    """Stop a replay.

    What it has not sent becomes again what it was.
    """
    settings = loaded(ctx, config)
    from daemon.cli import replaying

    replaying.cancel(settings, number, json=json)


@targets.command("list")
def targets_list(ctx: typer.Context, *, config: Config = None, json: Json = False) -> None:
    """List the targets and how they are doing."""
    settings = loaded(ctx, config)
    from daemon.cli import holding

    holding.show(settings, json=json)


@targets.command("pause")
def targets_pause(ctx: typer.Context, name: Name, *, config: Config = None) -> None:
    """Send nothing to a target until it is resumed.

    What is for it waits.
    """
    settings = loaded(ctx, config)
    from daemon.cli import holding

    holding.pause(settings, name)


@targets.command("resume")
def targets_resume(ctx: typer.Context, name: Name, *, config: Config = None) -> None:
    """Send to a target again, at once."""
    settings = loaded(ctx, config)
    from daemon.cli import holding

    holding.resume(settings, name)


@targets.command("test")
def targets_test(ctx: typer.Context, name: Name, *, config: Config = None, json: Json = False) -> None:
    """Send a target a signed sample of each kind of message that it gets.

    At once and past the queue, also where it is paused. Exit code 1 if it does not take one of them.
    """
    settings = loaded(ctx, config)
    from daemon.cli import trying

    trying.test(settings, name, json=json)
