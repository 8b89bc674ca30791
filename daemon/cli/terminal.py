"""Text, tables and JSON on a terminal. Nothing here knows where the values come from."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from daemon.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console, RenderableType
    from rich.style import StyleType
    from rich.table import Table
    from rich.text import Text

    from daemon.views.health import Health

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
PIPE_WIDTH = 250  # columns, so that nothing is cut off in a pipe
HYPHEN = "-"
HEALTH_STYLES = {
    "ok": "green",
    "waiting": "dim",
    "behind": "yellow",
    "blocked": "yellow",
    "paused": "yellow",
    "late": "bold red",
    "failing": "bold red",
}


def console() -> Console:
    """Return a console as wide as the terminal, without colour in a pipe or with NO_COLOR."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich itself would exit with code 1

    wide = None if sys.stdout.isatty() else PIPE_WIDTH
    return Plain(width=wide, highlight=False, markup=False, emoji=False)


def table(
    *columns: str, right: tuple[str, ...] = (), cut: tuple[str, ...] = (), wrapped: tuple[str, ...] = ()
) -> Table:
    """Return a table without lines. ``right`` are columns of numbers.

    On a narrow terminal the columns ``cut`` are truncated and ``wrapped`` continue on the next line.
    """
    from rich.table import Table
    from rich.text import Text

    class Cutting(Table):
        """A table that truncates columns: rich narrows columns that may wrap first, so these may, but no cell does."""

        def add_row(
            self, *cells: RenderableType | None, style: StyleType | None = None, end_section: bool = False
        ) -> None:
            shown = [
                Text(cell, no_wrap=True, overflow="ellipsis") if name in cut and isinstance(cell, str) else cell
                for name, cell in zip(columns, cells, strict=True)
            ]
            super().add_row(*shown, style=style, end_section=end_section)

    result = Cutting(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        result.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=column not in cut and column not in wrapped,
            overflow="ellipsis",
            min_width=None if column in cut else len(column),
        )
    return result


def print_facts(facts: Iterable[tuple[str, str | Text | None]]) -> None:
    """Print names and values below each other, without those that are None."""
    from rich.text import Text

    for name, value in facts:
        if value is not None:
            console().print(Text.assemble((f"{name:<14}", "bold"), value), soft_wrap=True)


def styled(text: str, style: str) -> Text:
    """Return a text in a colour."""
    from rich.text import Text

    return Text(text, style)


def health(value: Health) -> Text:
    """Return a health in its colour."""
    return styled(value.value, HEALTH_STYLES[value.value])


def document(value: object) -> None:
    """Print one indented JSON document."""
    import orjson

    _write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE))


def line(value: object) -> None:
    """Print one JSON document on one line."""
    import orjson

    _write(orjson.dumps(value, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE))


def note(text: str) -> None:
    """Print a remark to stderr, beside the output."""
    print(plain(text), file=sys.stderr)


def _write(text: bytes) -> None:
    sys.stdout.write(text.decode())
    sys.stdout.flush()


def span(seconds: float) -> str:
    """Return a duration in its largest unit."""
    if seconds < MINUTE:
        return f"{max(seconds, 0):.0f} s"
    if seconds < HOUR:
        return f"{seconds // MINUTE:.0f} min"
    if seconds < 2 * DAY:
        return f"{seconds // HOUR:.0f} h"
    return f"{seconds // DAY:.0f} d"


def ago(moment: datetime | None, now: datetime) -> str:
    """Return how long ago a moment was."""
    return HYPHEN if moment is None else f"{span((now - moment).total_seconds())} ago"


def since(moment: datetime | None, now: datetime) -> str:
    """Return how long something has lasted."""
    return HYPHEN if moment is None else span((now - moment).total_seconds())


def until(moment: datetime | None, now: datetime) -> str:
    """Return how long it is until a moment."""
    return span(0.0 if moment is None else (moment - now).total_seconds())


def clock(moment: datetime) -> str:
    """Return date and time in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def plain(text: object) -> str:
    """Return somebody's text on one line, without characters that could control a terminal."""
    return printable(" ".join(str(text).split()))
