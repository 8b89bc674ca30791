"""The command ``status``: everything at a glance, what fails first."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TypeVar

from rich.console import Group
from rich.live import Live
from rich.text import Text

from daemon.cli import replaying, storage
from daemon.cli import show as terminal
from daemon.views import overview
from daemon.views.health import Health

if TYPE_CHECKING:
    from collections.abc import Iterable

    import sqlalchemy as sa
    from rich.console import RenderableType
    from rich.table import Table

    from daemon.settings import Settings
    from daemon.storage.database import Database
    from daemon.views.action_list import ActionQueue
    from daemon.views.connection_health import ConnectionStatus
    from daemon.views.overview import Overview
    from daemon.views.target_health import TargetStatus
    from daemon.views.trigger_health import TriggerStatus

Checked = TypeVar("Checked", "ConnectionStatus", "TargetStatus", "TriggerStatus")

WATCH_SECONDS = 2.0
ENOUGH_TRIGGERS = 20
LONG_WAIT = 60.0  # seconds
SEVERITY = tuple(reversed(Health))
STYLES = {
    Health.OK: "green",
    Health.WAITING: "dim",
    Health.BEHIND: "yellow",
    Health.BLOCKED: "yellow",
    Health.PAUSED: "yellow",
    Health.LATE: "bold red",
    Health.FAILING: "bold red",
}


def show(settings: Settings, *, json: bool, watch: bool, everything: bool) -> None:
    """Print the status once, or with ``watch`` until interrupted."""
    with storage.opened(settings) as database:
        if json:
            _print_json(database, settings, watch=watch)
        elif watch and sys.stdout.isatty():
            with Live(console=terminal.console(), screen=True, auto_refresh=False) as live:
                while True:
                    live.update(_rendered(_read(database, settings), everything=everything), refresh=True)
                    time.sleep(WATCH_SECONDS)
        else:
            terminal.console().print(_rendered(_read(database, settings), everything=everything))
            while watch:
                time.sleep(WATCH_SECONDS)
                terminal.console().print("", _rendered(_read(database, settings), everything=everything))


def _print_json(database: Database, settings: Settings, *, watch: bool) -> None:
    if not watch:
        terminal.document(_read(database, settings))
    while watch:
        terminal.line(_read(database, settings))
        time.sleep(WATCH_SECONDS)


def _read(database: Database, settings: Settings) -> Overview:
    def look(tx: sa.Connection) -> Overview:
        now = database.now(tx)
        return overview.read(tx, settings.connections, settings.triggers, settings.targets, now)

    return database.read_now(look)


def _rendered(status: Overview, *, everything: bool) -> RenderableType:
    parts: list[RenderableType] = [_head(status), Text("")]
    troubles = list(_troubles(status))
    if troubles:
        parts += [*troubles, Text("")]
    parts += [_connections(status), Text(""), _actions(status), Text(""), _targets(status), Text("")]
    parts += [Text(f"{replaying.line(each)} (see: pagerelay replays)") for each in status.replays]
    parts += [Text("")] if status.replays else []
    chosen = _worst_first(status.triggers)
    hidden = 0 if everything else max(len(chosen) - ENOUGH_TRIGGERS, 0)
    parts.append(_triggers(status, chosen[: len(chosen) - hidden]))
    if hidden:
        parts.append(Text(f"… and {hidden} more triggers (--all shows them)", style="dim"))
    return Group(*parts)


def _head(status: Overview) -> Text:
    events = f"{status.journal.events:,} event{'' if status.journal.events == 1 else 's'} in the journal"
    running = ", ".join(
        f"{each.hostname} for {terminal.since(each.started_at, status.now)}" for each in status.instances
    )
    return Text(f"pagerelay {status.version}, {status.database}, {events}; running: {running or 'nothing'}")


def _troubles(status: Overview) -> Iterable[Text]:
    """One line for each thing that somebody should look at."""
    if not status.instances:
        yield _trouble("no daemon is running (start it: pagerelay run)")
    for connection in _worst_first(status.connections):
        if what := _of_connection(connection, status):
            yield _trouble(f"connection {connection.name}: {what}")
        if what := _of_actions(connection.actions, status):
            yield _trouble(f"connection {connection.name}: {what}")
    for target in _worst_first(status.targets):
        if what := _of_target(target, status):
            yield _trouble(f"target {target.name}: {what}")
    for trigger in _worst_first(status.triggers):
        if trigger.last_error is not None:
            yield _trouble(f"trigger {trigger.name}: {trigger.last_error}")


def _of_connection(connection: ConnectionStatus, status: Overview) -> str | None:
    match connection.health:
        case Health.FAILING:
            return f"failing for {terminal.since(connection.failing_since, status.now)}: {connection.last_error}"
        case Health.LATE:
            return f"not polled for {terminal.since(connection.last_success_at, status.now)}"
        case Health.BLOCKED:
            until = connection.blocked_until or status.now
            return f"PagerDuty asked for no calls for {terminal.span((until - status.now).total_seconds())}"
        case _:
            return None


def _of_target(target: TargetStatus, status: Overview) -> str | None:
    match target.health:
        case Health.PAUSED:
            lasting = terminal.since(target.paused_at, status.now)
            reason = target.paused_reason or ""
            why = reason if reason.startswith("paused") else f"paused: {reason}".removesuffix(": ")
            return f"{why}, for {lasting} (go on: pagerelay targets resume {target.name})"
        case Health.BLOCKED:
            until = target.probe_at or status.now
            lasting = terminal.span((until - status.now).total_seconds())
            return f"asked for no requests for {lasting} (go on: pagerelay targets resume {target.name})"
        case Health.FAILING if target.failing_since is None:
            look = f"(see: pagerelay deliveries list --target {target.name})"
            return f"has taken nothing yet, {target.pending:,} pending, {target.dead:,} dead {look}"
        case Health.FAILING:
            lasting = terminal.since(target.failing_since, status.now)
            probe = target.probe_at
            wait = 0.0 if probe is None else (probe - status.now).total_seconds()
            again = f" (tried again in {terminal.span(wait)})" if wait > 0 else ""
            return f"failing for {lasting}: {target.last_error}{again}"
        case _:
            return None


def _of_actions(actions: ActionQueue, status: Overview) -> str | None:
    """What is wrong with a connection's actions: they do not wait so long while all is well."""
    oldest = actions.oldest_queued_at
    if oldest is None or (status.now - oldest).total_seconds() < LONG_WAIT:
        return None
    waiting = "an action waits" if actions.queued == 1 else f"{actions.queued:,} actions wait, the oldest"
    return f"{waiting} for {terminal.since(oldest, status.now)} (see: pagerelay actions list)"


def _trouble(text: str) -> Text:
    return Text(f"! {terminal.plain(text)}", style="bold red")


def _connections(status: Overview) -> Table:
    columns = ("Connection", "State", "Last poll", "Calls left", "Read up to", "Open", "Set aside")
    made = terminal.table(*columns, right=("Open", "Set aside"), cut=("Connection",))
    for each in _worst_first(status.connections):
        made.add_row(
            each.name,
            _state(each.health),
            terminal.ago(each.last_poll_at, status.now),
            f"{each.budget.left} of {each.budget.calls}",
            terminal.ago(each.watermark, status.now),
            str(each.open_incidents),
            _alarming(each.quarantined),
        )
    return made


def _actions(status: Overview) -> Table:
    """What waits and what fails; a connection's name is enough to find it above."""
    lately = terminal.span(max((each.actions.failed_within for each in status.connections), default=0))
    columns = ("Actions of", "Waiting", "Oldest", "Running", "Longest", f"Failed in {lately}")
    made = terminal.table(*columns, right=columns[1:], cut=("Actions of",))
    for each in _worst_first(status.connections):
        made.add_row(
            each.name,
            f"{each.actions.queued:,}",
            terminal.since(each.actions.oldest_queued_at, status.now),
            f"{each.actions.running:,}",
            terminal.since(each.actions.oldest_running_at, status.now),
            _alarming(each.actions.failed),
        )
    return made


def _targets(status: Overview) -> Table:
    columns = ("Target", "State", "Pending", "Oldest", "Dead", "Last success")
    made = terminal.table(*columns, right=("Pending", "Oldest", "Dead"), cut=("Target",))
    for each in _worst_first(status.targets):
        made.add_row(
            each.name,
            _state(each.health),
            f"{each.pending:,}",
            terminal.since(each.oldest_pending_at, status.now),
            _alarming(each.dead),
            terminal.ago(each.last_success_at, status.now),
        )
    return made


def _triggers(status: Overview, chosen: list[TriggerStatus]) -> Table:
    columns = ("Trigger", "State", "On", "To", "Behind", "Last event")
    made = terminal.table(*columns, right=("Behind",), cut=("Trigger", "To"))
    for each in chosen:
        made.add_row(
            each.name,
            _state(each.health),
            _names(each.on),
            ", ".join(each.to),
            f"{each.behind:,}",
            terminal.ago(each.last_event_at, status.now),
        )
    return made


def _names(on: tuple[str, ...]) -> str:
    """What a trigger is for, shortened where it is for much."""
    more = len(on) - 1
    return f"{on[0]} and {more} more" if more else on[0]


def _worst_first(things: Iterable[Checked]) -> list[Checked]:
    return sorted(things, key=lambda each: SEVERITY.index(each.health))


def _state(health: Health) -> Text:
    return Text(health.value, style=STYLES[health])


def _alarming(count: int) -> Text:
    return Text(f"{count:,}", style="bold red" if count else "")
