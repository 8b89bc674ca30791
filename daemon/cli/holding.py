"""The commands ``targets``: how they are doing, and holding them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from daemon.cli import show as terminal
from daemon.cli import storage
from daemon.cli.nearest import must_be_one
from daemon.cli.overview import STYLES
from daemon.model import PAUSED_BY_HAND
from daemon.storage import targets
from daemon.views import target_health

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    import sqlalchemy as sa

    from daemon.settings import Settings
    from daemon.views.target_health import TargetStatus


def show(settings: Settings, *, json: bool) -> None:
    """Print every target."""
    with storage.opened(settings) as database:

        def look(tx: sa.Connection) -> tuple[tuple[TargetStatus, ...], datetime]:
            now = database.now(tx)
            return target_health.read(tx, settings.targets, now), now

        found, now = database.read_now(look)
    if json:
        terminal.document({"items": found})
    elif found:
        _print(found, now)
    else:
        terminal.console().print("no targets")


def pause(settings: Settings, name: str) -> None:
    """Hold a target."""
    found = _change(settings, name, lambda tx, now: targets.pause(tx, name, PAUSED_BY_HAND, now))
    terminal.console().print(f"{name}: {found.paused_reason} (go on: pagerelay targets resume {name})", soft_wrap=True)


def resume(settings: Settings, name: str) -> None:
    """Hold a target no longer."""
    found = _change(settings, name, lambda tx, now: targets.resume(tx, name, now))
    terminal.console().print(f"{name}: resumed, {found.pending:,} pending", soft_wrap=True)


def _change(settings: Settings, name: str, change: Callable[[sa.Connection, datetime], object]) -> TargetStatus:
    must_be_one("target", name, settings.targets)
    with storage.opened(settings) as database:

        def write(tx: sa.Connection) -> tuple[TargetStatus, ...]:
            targets.ensure(tx, [name])
            now = database.now(tx)
            change(tx, now)
            return target_health.read(tx, {name: settings.targets[name]}, now)

        (found,) = database.write_now(write)
        return found


def _print(found: tuple[TargetStatus, ...], now: datetime) -> None:
    columns = ("Target", "State", "Format", "Url", "Pending", "Dead", "Last success", "Why")
    table = terminal.table(*columns, right=("Pending", "Dead"), cut=("Target", "Url", "Why"))
    for each in found:
        table.add_row(
            each.name,
            Text(each.health.value, style=STYLES[each.health]),
            each.format,
            each.url,
            f"{each.pending:,}",
            f"{each.dead:,}",
            terminal.ago(each.last_success_at, now),
            terminal.plain(each.paused_reason or each.last_error or terminal.HYPHEN),
        )
    terminal.console().print(table)
