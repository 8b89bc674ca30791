"""The commands ``deliveries``: list, show, redeliver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from daemon import errors
from daemon.cli import show as terminal
from daemon.cli import storage
from daemon.model import DeliveryState
from daemon.storage import replays
from daemon.views import delivery_list, overview

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    import sqlalchemy as sa

    from daemon.settings import Settings
    from daemon.views.delivery_list import DeliveryDetail, DeliveryItem

STYLES = {DeliveryState.PENDING: "yellow", DeliveryState.DELIVERED: "green", DeliveryState.DEAD: "bold red"}


def show(settings: Settings, filters: Mapping[str, str | None], *, limit: int, after: str | None, json: bool) -> None:
    """Print the latest deliveries, or those after a cursor."""
    page, now = storage.latest(settings, delivery_list.read, limit=limit, after=after, **filters)
    if json:
        terminal.document(page)
    elif page.items:
        _print(page.items, now)
    else:
        terminal.console().print("no deliveries")


def show_one(settings: Settings, delivery_id: int, *, json: bool) -> None:
    """Print one delivery. Raises PagerelayError if there is none of that number."""
    with storage.opened(settings) as database:
        found = database.read_now(delivery_list.find, delivery_id)
    if found is None:
        raise errors.PagerelayError(f"there is no delivery {delivery_id} (it may have been pruned)")
    if json:
        terminal.document(found)
    else:
        _print_one(found)


def redeliver(settings: Settings, delivery_ids: Iterable[int]) -> None:
    """Let deliveries be sent again: all of them or, if one of them cannot be, none."""

    def again(tx: sa.Connection) -> tuple[list[DeliveryItem], bool]:
        now = database.now(tx)
        return [_renewed(tx, settings, each, now) for each in delivery_ids], bool(overview.live_instances(tx, now))

    with storage.opened(settings) as database:
        items, alive = database.write_now(again)
    if not alive:
        terminal.note("no daemon is running to send them (start it: pagerelay run)")
    for item in items:
        terminal.console().print(f"delivery {item.id}: {item.state}, due now, to {item.target}", soft_wrap=True)


def _renewed(tx: sa.Connection, settings: Settings, delivery_id: int, now: datetime) -> DeliveryItem:
    found = delivery_list.find(tx, delivery_id)
    if found is not None and found.delivery.target not in settings.targets:
        name = terminal.plain(found.delivery.target)
        raise errors.UsageError(f'delivery {delivery_id}: the target "{name}" is not in the configuration any more')
    if found is None or not replays.redeliver(tx, delivery_id, now):
        message = f"there is no delivery {delivery_id}, or its message is gone (it may have been pruned)"
        raise errors.PagerelayError(message)
    renewed = delivery_list.find(tx, delivery_id)
    assert renewed is not None  # noqa: S101 - for the type checker: it is in the same transaction
    return renewed.delivery


def _print(items: list[DeliveryItem], now: datetime) -> None:
    columns = ("Id", "State", "Target", "What", "Incident", "Tries", "When", "Answer")
    table = terminal.table(*columns, right=("Id", "Tries"), cut=("Target", "Answer"))
    for item in items:
        table.add_row(
            str(item.id),
            Text(item.state.value, style=STYLES[item.state]),
            item.target,
            (item.type or terminal.HYPHEN).removeprefix("incident."),
            terminal.plain(item.incident_id),
            str(item.attempts),
            _when(item, now),
            _answer(item.last_status, item.last_error),
        )
    terminal.console().print(table)


def _print_one(found: DeliveryDetail) -> None:
    console = terminal.console()
    item = found.delivery
    facts: list[tuple[str, str | Text]] = [
        ("Delivery", str(item.id)),
        ("State", Text(item.state.value, style=STYLES[item.state])),
        ("Target", item.target),
        ("Message", item.message_id),
        ("Trigger", item.trigger or terminal.HYPHEN),
        *([] if found.batch else [("Event", f"{item.event_id} ({item.type})" if item.event_id else terminal.HYPHEN)]),
        *[("Event", f"{event.id} ({event.type} of {terminal.plain(event.incident_id)})") for event in found.batch],
        ("Incident", terminal.plain(item.incident_id)),
        ("Created", terminal.clock(item.created_at)),
    ]
    if found.event is not None:
        title = found.event.incident.get("title") or found.event.incident.get("summary") or ""
        facts.insert(-1, ("Title", terminal.plain(title)))
    if item.next_attempt_at is not None:
        facts.append(("Next attempt", "now" if item.running else terminal.clock(item.next_attempt_at)))
    if item.finished_at is not None:
        facts.append(("Finished", terminal.clock(item.finished_at)))
    for name, value in facts:
        console.print(Text.assemble((f"{name:<14}", "bold"), value), soft_wrap=True)
    if not found.attempts:
        console.print("\nno attempts yet")
        return
    console.print()
    table = terminal.table("Attempt", "Took", "Answer", right=("Took",), cut=("Answer",))
    for attempt in found.attempts:
        said = f": {terminal.plain(attempt.answer)}" if attempt.answer else ""
        table.add_row(
            terminal.clock(attempt.at), f"{attempt.duration_ms:,} ms", _answer(attempt.status, attempt.error) + said
        )
    console.print(table)


def _when(item: DeliveryItem, now: datetime) -> str:
    if item.running:
        return "now"
    if item.next_attempt_at is not None:
        wait = (item.next_attempt_at - now).total_seconds()
        return "due" if wait <= 0 else f"in {terminal.span(wait)}"
    return terminal.ago(item.finished_at, now)


def _answer(status: int | None, error: str | None) -> str:
    if error is not None:
        return terminal.plain(error)
    return terminal.HYPHEN if status is None else str(status)
