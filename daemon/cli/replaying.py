"""The commands ``replay`` and ``replays``: asked for in the database, carried out by a running daemon."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import typer
from pydantic_core import PydanticCustomError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from daemon import errors
from daemon.cli import show as terminal
from daemon.cli import storage
from daemon.cli.failures import FAILED
from daemon.cli.nearest import must_be_one
from daemon.config import validators
from daemon.model import DeliveryState, ReplayState
from daemon.storage import replays
from daemon.views import overview, replay_list

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import sqlalchemy as sa

    from daemon.settings import Settings
    from daemon.storage.database import Database
    from daemon.views.replay_list import ReplayItem

LOOK_SECONDS = 0.5
SAY_SECONDS = 10.0  # on a pipe
STATES = (DeliveryState.DELIVERED, DeliveryState.DEAD)
STYLES = {ReplayState.RUNNING: "cyan", ReplayState.FINISHED: "green", ReplayState.CANCELLED: "yellow"}


def replay(
    settings: Settings, since: str, until: str | None, filters: Mapping[str, str | None], *, wait: bool, json: bool
) -> None:
    """Make a replay, say how much it is, and show how it goes."""
    trigger, target, state = filters["trigger"], filters["target"], _state(filters["state"])
    if trigger is not None:
        must_be_one("trigger", trigger, settings.triggers)
    if target is not None:
        must_be_one("target", target, settings.targets)
    first, last = _moment("--since", since), None if until is None else _moment("--until", until)

    def create(tx: sa.Connection) -> tuple[ReplayItem | None, bool]:
        now = database.now(tx)
        wanted = replays.Wanted(first(now), now if last is None else last(now), trigger, target, state)
        if wanted.since > now:
            raise errors.UsageError("--since lies in the future (nothing was made since then)")
        if wanted.until < wanted.since:
            raise errors.UsageError("--until is before --since (nothing was made in between)")
        made = replays.create(tx, wanted, settings.targets, now)
        return replay_list.find(tx, made), bool(overview.live_instances(tx, now))

    with storage.opened(settings) as database:
        item, alive = database.write_now(create)
        assert item is not None  # noqa: S101 - for the type checker: it is in the same transaction
        if not json:
            terminal.console().print(f"replay {item.id} sends {_deliveries(item.total)} again", soft_wrap=True)
        going_on = item.state is ReplayState.RUNNING
        if going_on and not alive:
            terminal.note(f"no daemon is running to carry replay {item.id} out (start it: pagerelay run)")
        _tell(_followed(database, item, quiet=json) if wait and going_on and alive else item, json=json)


def show(settings: Settings, *, limit: int, after: str | None, json: bool) -> None:
    """Print the latest replays, or those after a cursor."""
    page, now = storage.latest(settings, replay_list.read, limit=limit, after=after)
    if json:
        terminal.document(page)
    elif page.items:
        _print(page.items, now)
    else:
        terminal.console().print("no replays")


def show_one(settings: Settings, replay_id: int, *, wait: bool, json: bool) -> None:
    """Print how far a replay has come; with ``wait``, go on until its end."""
    with storage.opened(settings) as database:
        item = _found(database, replay_id)
        if wait and item.finished_at is None:
            item = _followed(database, item, quiet=json)
    _tell(item, json=json)


def cancel(settings: Settings, replay_id: int, *, json: bool) -> None:
    """Stop a replay."""
    with storage.opened(settings) as database:
        _found(database, replay_id)
        database.write_now(lambda tx: replays.cancel(tx, replay_id, database.now(tx)))
        item = _found(database, replay_id)
    if json:
        terminal.document(item)
    else:
        terminal.console().print(line(item), soft_wrap=True)


def line(item: ReplayItem) -> str:
    """A replay in one line."""
    skipped = f", {item.skipped:,} skipped" if item.skipped else ""
    pending = f", {item.pending:,} pending" if item.pending else ""
    sent = f"{item.delivered:,} of {item.total:,} delivered, {item.dead:,} dead{pending}{skipped}"
    return f"replay {item.id} {item.state}: {sent}"


# --- what is asked for


def _state(name: str | None) -> DeliveryState | None:
    if name is not None:
        must_be_one("state to replay", name, STATES)
    return None if name is None else DeliveryState(name)


def _moment(option: str, given: str) -> Callable[[datetime], datetime]:
    """A point in time, given as such or as how long ago. Raises UsageError."""
    try:
        ago: timedelta = validators.duration(given)
    except PydanticCustomError:
        try:
            at: datetime = validators.instant(given)
        except PydanticCustomError:
            advice = "must be a duration such as 2h, or a time with its offset, such as 2026-11-01T00:00:00Z"
            raise errors.UsageError(f"{option} {advice}") from None
        return lambda _now: at
    return lambda now: now - ago


# --- how it goes


def _followed(database: Database, item: ReplayItem, *, quiet: bool) -> ReplayItem:
    """The replay at its end. Who stops waiting stops nothing."""
    try:
        if sys.stdout.isatty() and not quiet:
            return _with_a_bar(database, item)
        return _with_lines(database, item, quiet=quiet)
    except KeyboardInterrupt:
        look, stop = f"pagerelay replays show {item.id} --wait", f"pagerelay replays cancel {item.id}"
        terminal.note(f"replay {item.id} goes on without you (look: {look}; stop it: {stop})")
        raise


def _with_a_bar(database: Database, item: ReplayItem) -> ReplayItem:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=terminal.console(), transient=True) as progress:
        task = progress.add_task(f"replay {item.id}", total=item.total)
        while item.finished_at is None:
            progress.update(task, completed=item.delivered + item.dead)
            time.sleep(LOOK_SECONDS)
            item = _found(database, item.id)
    return item


def _with_lines(database: Database, item: ReplayItem, *, quiet: bool) -> ReplayItem:
    said = time.monotonic()
    while item.finished_at is None:
        time.sleep(LOOK_SECONDS)
        item = _found(database, item.id)
        if not quiet and item.finished_at is None and time.monotonic() - said >= SAY_SECONDS:
            said = time.monotonic()
            print(line(item), flush=True)
    return item


def _found(database: Database, replay_id: int) -> ReplayItem:
    found = database.read_now(replay_list.find, replay_id)
    if found is None:
        raise errors.PagerelayError(f"there is no replay {replay_id} (it may have been pruned)")
    return found


# --- what is said


def _tell(item: ReplayItem, *, json: bool) -> None:
    """How it stands; exit code 1 for one that did not go well."""
    if json:
        terminal.document(item)
    else:
        terminal.console().print(line(item), soft_wrap=True)
    if item.finished_at is not None and (item.dead or item.state is ReplayState.CANCELLED):
        raise typer.Exit(FAILED)


def _print(items: list[ReplayItem], now: datetime) -> None:
    columns = ("Id", "State", "Trigger", "Target", "Only", "Since", "Total", "Delivered", "Dead", "Asked")
    table = terminal.table(*columns, right=("Id", "Total", "Delivered", "Dead"), cut=("Trigger", "Target"))
    for item in items:
        table.add_row(
            str(item.id),
            Text(item.state.value, style=STYLES[item.state]),
            item.filters.trigger or terminal.HYPHEN,
            item.filters.target or terminal.HYPHEN,
            item.filters.state or terminal.HYPHEN,
            item.filters.since.astimezone(UTC).strftime("%m-%d %H:%M"),
            f"{item.total:,}",
            f"{item.delivered:,}",
            f"{item.dead:,}",
            terminal.ago(item.created_at, now),
        )
    terminal.console().print(table)


def _deliveries(count: int) -> str:
    return f"{count:,} {'delivery' if count == 1 else 'deliveries'}"
