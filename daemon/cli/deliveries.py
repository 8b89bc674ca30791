"""The commands ``deliveries list``, ``show`` and ``redeliver``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from daemon import errors, text
from daemon.cli import agreement, lists, options, terminal
from daemon.model import DeliveryState
from daemon.views.health import Health

if TYPE_CHECKING:
    from datetime import datetime

    import sqlalchemy as sa
    from rich.text import Text

    from daemon.cli.terminal import TextTable
    from daemon.settings import Settings
    from daemon.views.delivery_list import DeliveryDetail, DeliveryItem

STYLES = {DeliveryState.PENDING: "yellow", DeliveryState.DELIVERED: "green", DeliveryState.DEAD: "bold red"}

WAITS = {
    Health.PAUSED: "its target, which is paused",
    Health.BLOCKED: "its target, which requested a pause",
    Health.FAILING: "its target, which is failing: one delivery at a time probes it",
}

app = typer.Typer(help="List, show and redeliver deliveries.", **options.PLAIN)


@app.command("list")
def list_deliveries(
    ctx: typer.Context,
    *,
    config: options.Config = None,
    json: options.Json = False,
    limit: options.Limit = options.LATEST,
    after: options.After = None,
    trigger: options.OfTrigger = None,
    target: options.OfTarget = None,
    state: Annotated[str | None, typer.Option(metavar="STATE", help="pending, retrying, delivered or dead.")] = None,
    incident: options.OfIncident = None,
) -> None:
    """List deliveries, oldest first."""
    settings = options.load(ctx, config)
    from daemon.views import delivery_list

    filters = {"trigger": trigger, "target": target, "state": state, "incident": incident}
    lists.show_page(
        settings,
        delivery_list.read,
        _table,
        "deliveries",
        lists.why_no_deliveries,
        filters,
        json=json,
        limit=limit,
        after=after,
    )


@app.command()
def show(
    ctx: typer.Context,
    delivery: Annotated[int, typer.Argument(metavar="ID", help="The delivery's id.")],
    *,
    config: options.Config = None,
    json: options.Json = False,
) -> None:
    """Show one delivery with its attempts."""
    settings = options.load(ctx, config)
    from daemon.views import delivery_list

    detail = lists.find(settings, delivery_list.find, "delivery", delivery)
    if json:
        terminal.document(detail)
    else:
        _print_facts(detail)
        _print_attempts(detail)


@app.command()
def redeliver(
    ctx: typer.Context,
    numbers: Annotated[list[int], typer.Argument(metavar="ID", help="The deliveries' ids.")],
    *,
    config: options.Config = None,
) -> None:
    """Send deliveries again, with the same ids."""
    settings = options.load(ctx, config)
    from daemon.cli.database import opened
    from daemon.views import overview

    def renew_all(tx: sa.Connection) -> tuple[list[DeliveryItem], bool]:
        now = database.now(tx)
        return [_renew(tx, settings, number, now) for number in numbers], bool(overview.live_instances(tx, now))

    with opened(settings) as database:
        agreement.check_in(database, settings)
        items, is_running = database.write_now(renew_all)
    if not is_running:
        terminal.note("no daemon is running to send them (start it: pagerelay run)")
    for item in items:
        terminal.console().print(f"delivery {item.id}: {item.state}, {_renewed(item)}", soft_wrap=True)


def _renew(tx: sa.Connection, settings: Settings, delivery_id: int, now: datetime) -> DeliveryItem:
    from daemon.storage import replays
    from daemon.views import delivery_list

    detail = delivery_list.find(tx, delivery_id)
    if detail is not None and detail.delivery.target not in settings.targets:
        name = terminal.plain(detail.delivery.target)
        raise errors.UsageError(f'delivery {delivery_id}: the configuration no longer has the target "{name}"')
    if detail is None or not replays.redeliver(tx, delivery_id, now):
        raise errors.PagerelayError(f"unknown delivery {delivery_id}, or its message is missing (it may be pruned)")
    renewed = delivery_list.find(tx, delivery_id)
    assert renewed is not None  # noqa: S101 - for the type checker: it is in the same transaction
    return renewed.delivery


def _renewed(item: DeliveryItem) -> str:
    if item.waits_for_target is None:
        return f"due now, to {item.target}"
    return f"waits for {item.target}, which is {item.waits_for_target} (pagerelay targets resume {item.target})"


def _table(items: list[DeliveryItem], now: datetime) -> TextTable:
    columns = ("Id", "State", "Target", "Event", "Incident", "Attempts", "When", "Response")
    table = terminal.TextTable(*columns, right=("Id", "Attempts"))
    for item in items:
        table.add_row(
            str(item.id),
            terminal.styled(item.state.value, STYLES[item.state]),
            item.target,
            (item.type or terminal.HYPHEN).removeprefix("incident."),
            terminal.plain(item.incident_id),
            str(item.attempts),
            _when(item, now),
            _response(item.last_status, item.last_error),
        )
    return table


def _print_facts(detail: DeliveryDetail) -> None:
    item = detail.delivery
    facts: list[tuple[str, str | Text | None]] = [
        ("Delivery", str(item.id)),
        ("State", terminal.styled(item.state.value, STYLES[item.state])),
        ("Target", item.target),
        ("Message", item.message_id),
        ("Trigger", item.trigger or terminal.HYPHEN),
        *([] if detail.batch else [("Event", f"{item.event_id} ({item.type})" if item.event_id else terminal.HYPHEN)]),
        *[("Event", f"{event.id} ({event.type} of {terminal.plain(event.incident_id)})") for event in detail.batch],
        ("Incident", terminal.plain(item.incident_id)),
    ]
    if detail.event is not None:
        title = detail.event.incident.get("title") or detail.event.incident.get("summary") or ""
        facts.append(("Title", terminal.plain(title)))
    facts.append(("Created", terminal.clock(item.created_at)))
    if item.next_attempt_at is not None:
        facts.append(("Next attempt", "now" if item.running else terminal.clock(item.next_attempt_at)))
    if item.waits_for_target is not None:
        facts.append(("Waits for", WAITS[item.waits_for_target]))
    if item.finished_at is not None:
        facts.append(("Finished", terminal.clock(item.finished_at)))
    terminal.print_facts(facts)


def _print_attempts(detail: DeliveryDetail) -> None:
    console = terminal.console()
    if not detail.attempts:
        console.print("\nno attempts yet")
        return
    console.print()
    table = terminal.TextTable("Attempt", "Took", "Response", right=("Took",))
    for attempt in detail.attempts:
        body = f": {terminal.plain(attempt.answer)}" if attempt.answer else ""
        response = _response(attempt.status, attempt.error) + body
        table.add_row(terminal.clock(attempt.at), f"{attempt.duration_ms:,} ms", response)
    console.print(table)


def _when(item: DeliveryItem, now: datetime) -> str:
    if item.running:
        return "now"
    due = "" if item.next_attempt_at is None else _due(item.next_attempt_at, now)
    if item.waits_for_target is not None:
        return f"target {item.waits_for_target}, {due}".removesuffix(", ")
    return due or terminal.ago(item.finished_at, now)


def _due(moment: datetime, now: datetime) -> str:
    wait = (moment - now).total_seconds()
    return "due" if wait <= 0 else f"in {text.span(wait)}"


def _response(status: int | None, error: str | None) -> str:
    if error is not None:
        return terminal.plain(error)
    return terminal.HYPHEN if status is None else str(status)
