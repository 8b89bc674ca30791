"""The command ``targets test``: what a target says to samples."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from daemon.cli import show as terminal
from daemon.cli.failures import FAILED
from daemon.cli.nearest import must_be_one
from daemon.delivery import sample_delivery
from daemon.storage.database import system_clock

if TYPE_CHECKING:
    from daemon.settings import Settings

LONGEST = timedelta(minutes=5)


def test(settings: Settings, name: str, *, json: bool) -> None:
    """Send the samples, and print how each of them went."""
    must_be_one("target", name, settings.targets)
    target = settings.targets[name]
    kinds = sample_delivery.kinds(target, settings.triggers.values(), settings.actions_notify, settings.alerts_to)
    trials = asyncio.run(sample_delivery.run(target, kinds, system_clock(), LONGEST))
    if json:
        terminal.document({"items": trials})
    else:
        _print(trials)
    if any(each.error for each in trials):
        raise typer.Exit(FAILED)


def _print(trials: list[sample_delivery.Trial]) -> None:
    table = terminal.table("Sample", "Took", "Answer", right=("Took",), wrapped=("Answer",))
    for each in trials:
        said = f": {terminal.plain(each.answer)}" if each.answer else ""
        answer = (
            Text(f"{terminal.plain(each.error)}{said}", "bold red") if each.error else Text(str(each.status), "green")
        )
        table.add_row(each.type, f"{each.duration_ms:,} ms", answer)
    terminal.console().print(table)
