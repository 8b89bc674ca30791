"""The commands ``actions list`` and ``actions show``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from daemon import errors
from daemon.cli import operations, outcome, storage
from daemon.cli import show as terminal
from daemon.model import ActionState, Outcome
from daemon.views import action_list

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from daemon.settings import Settings
    from daemon.views.action_list import ActionItem

WIDE = 100  # less has no room for all columns
STYLES = {
    ActionState.QUEUED: "yellow",
    ActionState.RUNNING: "cyan",
    ActionState.SUCCEEDED: "green",
    ActionState.FAILED: "bold red",
}
SHORT = {Outcome.DONE: "done", Outcome.ALREADY_DONE: "already", Outcome.OVERTAKEN: "too late"}


def show(settings: Settings, filters: Mapping[str, str | None], *, limit: int, after: str | None, json: bool) -> None:
    """Print the latest actions, or those after a cursor."""
    if filters["operation"] is not None:
        operations.find(filters["operation"])
    page, now = storage.latest(settings, action_list.read, limit=limit, after=after, **filters)
    if json:
        terminal.document(page)
    elif page.items:
        _print(page.items, now)
    else:
        terminal.console().print("no actions")


def show_one(settings: Settings, action_id: str, *, json: bool) -> None:
    """Print one action. Raises PagerelayError if there is none of that id."""
    with storage.opened(settings) as database:
        found = database.read_now(action_list.find, action_id)
    if found is None:
        raise errors.PagerelayError(f"there is no action {terminal.plain(action_id)} (it may have been pruned)")
    if json:
        terminal.document(found)
    else:
        _print_one(found)


def _print(items: list[ActionItem], now: datetime) -> None:
    """One line for each; where room is short, without when it came and what was said."""
    console = terminal.console()
    wide = console.width >= WIDE
    columns = ("State", "Operation", "Incident", "Id", *(("Asked", "What came of it") if wide else ()))
    table = terminal.table(*columns, cut=("What came of it",))
    for item in items:
        cells: list[str | Text] = [
            _state(item),
            item.operation,
            terminal.plain(item.incident_id or terminal.HYPHEN),
            item.id,
        ]
        table.add_row(*cells, *((terminal.ago(item.created_at, now), outcome.short(item)) if wide else ()))
    console.print(table)


def _print_one(found: ActionItem) -> None:
    console = terminal.console()
    parameters = " ".join(f"{key}={terminal.plain(value)}" for key, value in found.parameters.items())
    facts: list[tuple[str, str | Text | None]] = [
        ("Action", found.id),
        ("State", _state(found)),
        ("Operation", found.operation),
        ("Connection", found.connection),
        ("Parameters", parameters),
        ("Notify", ", ".join(found.notify) or None),
        ("Asked", terminal.clock(found.created_at)),
        ("Started", _clock(found.started_at)),
        ("Tries", str(found.tries)),
        ("Next try", _clock(found.next_try_at)),
        ("Finished", _clock(found.finished_at)),
        ("Outcome", (outcome.failure(found) if found.error else outcome.short(found)) or None),
    ]
    for name, value in facts:
        if value is not None:
            console.print(Text.assemble((f"{name:<14}", "bold"), value), soft_wrap=True)


def _clock(moment: datetime | None) -> str | None:
    return None if moment is None else terminal.clock(moment)


def _state(item: ActionItem) -> Text:
    """The state; of an action that succeeded, in what way."""
    word = item.state.value if item.outcome is None else SHORT[item.outcome]
    return Text(word, style=STYLES[item.state])
