"""The commands ``targets list``, ``pause``, ``resume`` and ``test``."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from daemon import errors
from daemon.cli import agreement, names, options, terminal, troubles
from daemon.model import PAUSED_BY_HAND

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    import sqlalchemy as sa
    from rich.text import Text

    from daemon.delivery.sample_delivery import Trial
    from daemon.settings import Settings
    from daemon.views.target_health import TargetStatus

LONGEST_TEST = timedelta(minutes=5)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The target's name.")]

app = typer.Typer(help="List, pause, resume and test targets.", **options.PLAIN)


@app.command("list")
def list_targets(ctx: typer.Context, *, config: options.Config = None, json: options.Json = False) -> None:
    """List the targets and their health."""
    settings = options.load(ctx, config)
    from daemon.cli.database import opened
    from daemon.views import target_health

    with opened(settings) as database:

        def look(tx: sa.Connection) -> tuple[tuple[TargetStatus, ...], datetime]:
            now = database.now(tx)
            return target_health.read(tx, settings.targets, now), now

        statuses, now = database.read_now(look)
    if json:
        terminal.document({"items": statuses})
    elif statuses:
        _print_table(statuses, now)
    else:
        terminal.console().print("no targets")
        terminal.note(f"{terminal.plain(settings.source)} has none (add one under targets)")


@app.command()
def pause(ctx: typer.Context, name: Name, *, config: options.Config = None) -> None:
    """Stop sending to a target until it is resumed.

    Its deliveries stay pending.
    """
    settings = options.load(ctx, config)
    from daemon.storage import targets

    status = _change(settings, name, lambda tx, now: targets.pause(tx, name, PAUSED_BY_HAND, now))
    message = f"{name}: {status.paused_reason} (resume: pagerelay targets resume {name})"
    terminal.console().print(message, soft_wrap=True)


@app.command()
def resume(ctx: typer.Context, name: Name, *, config: options.Config = None) -> None:
    """Send to a paused, failing or blocked target at once."""
    settings = options.load(ctx, config)
    from daemon.storage import targets

    status = _change(settings, name, lambda tx, now: targets.resume(tx, name, now))
    terminal.console().print(f"{name}: resumed, {status.pending:,} pending", soft_wrap=True)


@app.command("test")
def send_samples(ctx: typer.Context, name: Name, *, config: options.Config = None, json: options.Json = False) -> None:
    """Send a target a signed sample of each kind of message that it receives.

    The samples are sent at once, bypassing the queue, even to a paused target. Exit code 1 if a sample is not accepted.
    """
    settings = options.load(ctx, config)
    from daemon.cli.database import opened
    from daemon.cli.group import FAILED
    from daemon.delivery import sample_delivery
    from daemon.storage.database import system_clock

    names.must_be_known("target", name, settings.targets)
    target = settings.targets[name]
    kinds = sample_delivery.kinds(target, settings.triggers.values(), settings.actions_notify, settings.alerts_to)
    with contextlib.suppress(errors.DatabaseError), opened(settings) as database:  # the samples need no database
        agreement.check_in(database, settings)
    trials = asyncio.run(sample_delivery.run(target, kinds, system_clock(), LONGEST_TEST))
    if json:
        terminal.document({"items": trials})
    else:
        _print_trials(trials)
    if any(trial.error for trial in trials):
        raise typer.Exit(FAILED)


def _change(settings: Settings, name: str, change: Callable[[sa.Connection, datetime], object]) -> TargetStatus:
    """Change one target in the database, and return its status."""
    from daemon.cli.database import opened
    from daemon.storage import targets
    from daemon.views import target_health

    names.must_be_known("target", name, settings.targets)
    with opened(settings) as database:

        def write(tx: sa.Connection) -> tuple[TargetStatus, ...]:
            targets.ensure(tx, [name])
            now = database.now(tx)
            change(tx, now)
            return target_health.read(tx, {name: settings.targets[name]}, now)

        (status,) = database.write_now(write)
        return status


def _print_table(statuses: tuple[TargetStatus, ...], now: datetime) -> None:
    columns = ("Target", "State", "Format", "URL", "Pending", "Dead", "Last success", "Why")
    table = terminal.TextTable(*columns, right=("Pending", "Dead"))
    for status in statuses:
        table.add_row(
            status.name,
            terminal.health(status.health),
            status.format,
            status.url,
            f"{status.pending:,}",
            f"{status.dead:,}",
            terminal.ago(status.last_success_at, now),
            terminal.plain(troubles.of_target(status, now) or status.error or terminal.HYPHEN),
        )
    terminal.console().print(table)


def _print_trials(trials: list[Trial]) -> None:
    """Print a line for each sample, or a single one if all had the same response."""
    first = trials[0]
    if len(trials) > 1 and all((each.status, each.error) == (first.status, first.error) for each in trials):
        times = sorted(each.duration_ms for each in trials)
        line = terminal.styled(f"{len(trials)} samples {'not ' if first.error else ''}accepted: ", "")
        line += _response(first)
        line.append(f", in {times[0]:,} to {times[-1]:,} ms (each of them: --json)")
        terminal.console().print(line, soft_wrap=True)
        return
    table = terminal.TextTable("Sample", "Took", "Response", right=("Took",))
    for trial in trials:
        table.add_row(trial.type, f"{trial.duration_ms:,} ms", _response(trial))
    terminal.console().print(table)


def _response(trial: Trial) -> Text:
    if not trial.error:
        return terminal.styled(str(trial.status), "green")
    body = f": {terminal.plain(trial.answer)}" if trial.answer else ""
    return terminal.styled(f"{terminal.plain(trial.error)}{body}", "bold red")
