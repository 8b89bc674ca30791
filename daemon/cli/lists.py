"""Listing and showing rows of the database: reading, JSON, and explanations of empty lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from daemon import errors, text
from daemon.cli import terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    import sqlalchemy as sa

    from daemon.cli.terminal import TextTable
    from daemon.settings import Settings
    from daemon.views.connection_health import ConnectionStatus
    from daemon.views.paging import Page

T = TypeVar("T")
Key = TypeVar("Key")

NEW_TRIGGER = "a new trigger sends only events from now on, unless start is set"


def show_page(
    settings: Settings,
    view: Callable[..., Page[T]],
    table: Callable[[list[T], datetime], TextTable],
    noun: str,
    reasons: Callable[[sa.Connection, Settings, datetime], list[str]],
    filters: Mapping[str, str | None],
    *,
    json: bool,
    limit: int,
    after: str | None,
) -> None:
    """Print the newest page of a list or the page after a cursor. ``reasons`` explain an empty one without filters."""
    from daemon.cli.database import opened

    with opened(settings) as database:

        def look(tx: sa.Connection) -> tuple[Page[T], datetime, list[str]]:
            page, now = view(tx, **filters, limit=limit, after=after, last=after is None), database.now(tx)
            return page, now, [] if page.items else _filtered(filters, after) or reasons(tx, settings, now)

        page, now, why = database.read_now(look)
    if json:
        terminal.document(page)
    elif page.items:
        terminal.console().print(table(page.items, now))
    else:
        terminal.console().print(f"no {noun}")
        terminal.notes(why)


def find(settings: Settings, view: Callable[[sa.Connection, Key], T | None], noun: str, key: Key) -> T:
    """Return one row. Raises PagerelayError if there is none."""
    from daemon.cli.database import opened

    with opened(settings) as database:
        item = database.read_now(view, key)
    if item is None:
        raise errors.PagerelayError(f"unknown {noun} {terminal.plain(key)} (it may have been pruned)")
    return item


def why_no_events(
    tx: sa.Connection, settings: Settings, now: datetime, filters: Mapping[str, str | None], after: str | None
) -> list[str]:
    """Return why a page of the journal is empty."""
    return _filtered(filters, after) or why_empty_journal(tx, settings, now)


def why_no_deliveries(tx: sa.Connection, settings: Settings, now: datetime) -> list[str]:
    """Return why nothing was sent and nothing is pending."""
    from daemon.views import event_list

    if not event_list.read(tx, limit=1, last=True).items:
        return why_empty_journal(tx, settings, now)
    if not settings.triggers:
        return ["the configuration has no triggers (add one, to say which events go to which targets)"]
    return [f"no event has matched a trigger yet: {NEW_TRIGGER}"]


def why_empty_journal(tx: sa.Connection, settings: Settings, now: datetime) -> list[str]:
    """Return for each connection why the journal has no event of it."""
    from daemon.views import connection_health

    statuses = connection_health.read(tx, settings.connections, settings.triggers.values(), now)
    return [_why_silent(each, settings, now) for each in statuses]


def _why_silent(connection: ConnectionStatus, settings: Settings, now: datetime) -> str:
    baseline, retention = connection.baseline_at, settings.database.retention.events
    if baseline is None:
        cause = connection.last_error or "polling requires a running daemon"
        return f"connection {connection.name} has not been polled yet: {cause} (see: pagerelay status)"
    if now - baseline < retention:
        return (
            f"nothing has happened in connection {connection.name} since its first poll"
            f" {terminal.ago(baseline, now)}, which stored a baseline and sent nothing"
        )
    return f"nothing has happened in connection {connection.name} for {text.span(retention.total_seconds())}"


def _filtered(filters: Mapping[str, str | None], after: str | None) -> list[str]:
    """Return which filters nothing matches, or nothing if there are none."""
    options = [f"--{name} {value}" for name, value in (*filters.items(), ("after", after)) if value is not None]
    if not options:
        return []
    hint = f" ({NEW_TRIGGER})" if filters.get("trigger") else ""
    return [f"nothing matches {' '.join(options)}{hint}"]
