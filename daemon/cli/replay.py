"""The command ``replay``: creates a replay in the database, for a running daemon to carry out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from daemon import errors
from daemon.cli import agreement, names, options, terminal
from daemon.model import DeliveryState, ReplayState

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    import sqlalchemy as sa

    from daemon.settings import Settings
    from daemon.storage.database import Database
    from daemon.views.replay_list import ReplayItem

Moment: TypeAlias = "Callable[[datetime], datetime]"  # of the current time

STATES = (DeliveryState.DELIVERED, DeliveryState.DEAD)

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
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is finished.")] = True,
) -> None:
    """Send delivered and dead messages again.

    The same messages with the same ids go to the same targets. A running daemon sends them, after new ones.
    Exit code 0: all of them are delivered (with --no-wait: the replay is accepted); 1: some are dead.
    """
    settings = options.load(ctx, config)
    from daemon.cli import replays
    from daemon.cli.database import opened

    if state is not None:
        names.must_be_known("state to replay", state, STATES)
    if trigger is not None:
        names.must_be_known("trigger", trigger, settings.triggers)
    if target is not None:
        names.must_be_known("target", target, settings.targets)
    times = _moment("--since", since), None if until is None else _moment("--until", until)
    with opened(settings) as database:
        agreement.check_in(database, settings)
        item, is_running = database.write_now(_create, database, settings, times, trigger, target, state)
        if not json:
            count = f"{item.total:,} {'delivery' if item.total == 1 else 'deliveries'}"
            terminal.console().print(f"replay {item.id} sends {count} again", soft_wrap=True)
        if item.state is ReplayState.RUNNING and not is_running:
            terminal.note(f"no daemon is running to carry out replay {item.id} (start it: pagerelay run)")
        elif item.state is ReplayState.RUNNING and wait:
            item = replays.follow(database, item, quiet=json)
        replays.report(item, json=json)


def _create(
    tx: sa.Connection,
    database: Database,
    settings: Settings,
    times: tuple[Moment, Moment | None],
    trigger: str | None,
    target: str | None,
    state: str | None,
) -> tuple[ReplayItem, bool]:
    """Create a replay, and return it and whether a daemon is running. Raises UsageError for impossible times."""
    from daemon.storage import replays
    from daemon.views import overview, replay_list

    now = database.now(tx)
    since, until = times[0](now), now if times[1] is None else times[1](now)
    if since > now:
        raise errors.UsageError("--since is in the future (use an earlier time)")
    if until < since:
        raise errors.UsageError("--until is before --since (swap them)")
    delivery_state = None if state is None else DeliveryState(state)
    filters = replays.ReplayFilter(since, until, trigger, target, delivery_state)
    item = replay_list.find(tx, replays.create(tx, filters, settings.targets, now))
    assert item is not None  # noqa: S101 - for the type checker: it is in the same transaction
    return item, bool(overview.live_instances(tx, now))


def _moment(option: str, value: str) -> Moment:
    """Return a function of the current time for an instant or a duration before now. Raises UsageError."""
    from pydantic_core import PydanticCustomError

    from daemon.config import validators

    try:
        ago: timedelta = validators.duration(value)
    except PydanticCustomError:
        try:
            at: datetime = validators.instant(value)
        except PydanticCustomError:
            advice = "must be a duration such as 2h, or a time with its offset, such as 2026-11-01T00:00:00Z"
            raise errors.UsageError(f"{option} {advice}") from None
        return lambda _now: at
    return lambda now: now - ago
