"""The command ``replay``: creates a replay in the database, for a running daemon to carry out."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from daemon import errors, text
from daemon.cli import agreement, names, options, terminal
from daemon.model import DeliveryState, ReplayState

if TYPE_CHECKING:
    from datetime import datetime

    import sqlalchemy as sa

    from daemon.settings import Settings
    from daemon.storage.database import Database
    from daemon.storage.replays import Matches, ReplayFilter
    from daemon.views.replay_list import ReplayItem

STATES = (DeliveryState.DELIVERED, DeliveryState.DEAD)


@dataclass(frozen=True, slots=True)
class Only:
    """What the deliveries to send again have in common, apart from their time."""

    trigger: str | None
    target: str | None
    state: DeliveryState | None


app = typer.Typer(**options.PLAIN)


@app.command()
def replay(
    ctx: typer.Context,
    *,
    config: options.Config = None,
    json: options.Json = False,
    since: Annotated[
        str,
        typer.Option(metavar="TIME", help="Deliveries created after: 2h (ago), or 2026-11-01T00:00:00Z."),
    ],
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Deliveries created before; default: now.")] = None,
    trigger: options.OfTrigger = None,
    target: options.OfTarget = None,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help="Only deliveries in this state: delivered or dead.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be sent again.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before sending.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is finished.")] = True,
) -> None:
    """Send delivered and dead messages again.

    The same messages with the same ids go to the same targets. A running daemon sends them, after new ones.
    Prints how many match, and asks first on a terminal.
    Exit code 0: all of them are delivered (with --no-wait: the replay is accepted); 1: some are dead.
    """
    settings = options.load(ctx, config)
    from daemon.cli.database import opened

    only = _only(settings, trigger, target, state)
    with opened(settings) as database:
        agreement.check_in(database, settings)
        replay_filter, matches = database.read_now(_count, database, settings, (since, until), only)
        if dry_run or not json:
            _print(matches, json=json)
        if dry_run:
            return
        if matches.deliveries and not (yes or json):
            _ask()
        _carry_out(database, settings, replay_filter, json=json, wait=wait)


def _carry_out(database: Database, settings: Settings, replay_filter: ReplayFilter, *, json: bool, wait: bool) -> None:
    """Create a replay, and show its progress. Raises typer.Exit with code 1 if it ends with dead deliveries."""
    from daemon.cli import replays

    item, is_running = database.write_now(_create, database, settings, replay_filter)
    if not json:
        terminal.console().print(f"replay {item.id} sends {_deliveries(item.total)} again", soft_wrap=True)
    if item.state is ReplayState.RUNNING and not is_running:
        terminal.note(f"no daemon is running to carry out replay {item.id} (start it: pagerelay run)")
    elif item.state is ReplayState.RUNNING and wait:
        item = replays.follow(database, item, quiet=json)
    replays.report(item, json=json)


def _only(settings: Settings, trigger: str | None, target: str | None, state: str | None) -> Only:
    """Return what the deliveries must have in common. Raises UsageError for an unknown name."""
    if state is not None:
        names.must_be_known("state to replay", state, STATES)
    if trigger is not None:
        names.must_be_known("trigger", trigger, settings.triggers)
    if target is not None:
        names.must_be_known("target", target, settings.targets)
    return Only(trigger, target, None if state is None else DeliveryState(state))


def _count(
    tx: sa.Connection, database: Database, settings: Settings, times: tuple[str, str | None], only: Only
) -> tuple[ReplayFilter, Matches]:
    """Return the filter, and what it matches. Raises UsageError for impossible times."""
    from daemon.storage import replays

    now = database.now(tx)
    since, until = _moment("--since", times[0], now), now if times[1] is None else _moment("--until", times[1], now)
    if since > now:
        raise errors.UsageError("--since is in the future (use an earlier time)")
    if until < since:
        raise errors.UsageError("--until is before --since (swap them)")
    replay_filter = replays.ReplayFilter(since, until, only.trigger, only.target, only.state)
    return replay_filter, replays.count(tx, replay_filter, settings.targets)


def _print(matches: Matches, *, json: bool) -> None:
    """Print what matches and what is left out, on one line."""
    if json:
        terminal.document(matches)
        return
    events = "1 event" if matches.events == 1 else f"{matches.events:,} events"
    verb = "matches" if matches.deliveries == 1 else "match"
    line = f"{_deliveries(matches.deliveries)} of {events} {verb}"
    left_out = "1 is pending" if matches.pending == 1 else f"{matches.pending:,} are pending"
    if matches.pending:
        line += f"; {left_out} and left out (what is pending is sent anyway)"
    terminal.console().print(line, soft_wrap=True)


def _deliveries(count: int) -> str:
    return "1 delivery" if count == 1 else f"{count:,} deliveries"


def _ask() -> None:
    """Ask on a terminal whether to send. Raises typer.Exit with code 1 if not."""
    from daemon.cli.group import FAILED

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return
    if not typer.confirm("Send them again?"):
        terminal.note("nothing is sent")
        raise typer.Exit(FAILED)


def _create(
    tx: sa.Connection, database: Database, settings: Settings, replay_filter: ReplayFilter
) -> tuple[ReplayItem, bool]:
    """Create a replay, and return it and whether a daemon is running."""
    from daemon.storage import replays
    from daemon.views import overview, replay_list

    now = database.now(tx)
    item = replay_list.find(tx, replays.create(tx, replay_filter, settings.targets, now))
    assert item is not None  # noqa: S101 - for the type checker: it is in the same transaction
    return item, bool(overview.live_instances(tx, now))


def _moment(option: str, value: str, now: datetime) -> datetime:
    """Return an instant, or a duration before now. Raises UsageError."""
    moment = text.moment(value, now)
    if moment is None:
        advice = "must be a duration such as 2h, or a time with its offset, such as 2026-11-01T00:00:00Z"
        raise errors.UsageError(f"{option} {advice}")
    return moment
