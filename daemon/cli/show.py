"""How things look on a terminal and as JSON. Nothing here knows where they come from."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson

from daemon.text import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.style import StyleType
    from rich.table import Table

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
PIPE_WIDTH = 250  # nothing is cut off in a pipe
HYPHEN = "-"


def console() -> Console:
    """Where tables go: as wide as the terminal, without colour where none is wanted (NO_COLOR, pipes)."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would end the process by itself, with exit code 1

    wide = None if sys.stdout.isatty() else PIPE_WIDTH
    return Plain(width=wide, highlight=False, markup=False, emoji=False)


def table(
    *columns: str, right: tuple[str, ...] = (), cut: tuple[str, ...] = (), wrapped: tuple[str, ...] = ()
) -> Table:
    """A table without lines. ``right`` are columns of numbers.

    Where room is short, ``cut`` may be cut short and ``wrapped`` goes on on the next line.
    """
    from rich.table import Table
    from rich.text import Text

    class Cutting(Table):
        """Rich takes room from columns that may wrap before it takes it from others: so these may, and no cell does."""

        def add_row(
            self, *cells: RenderableType | None, style: StyleType | None = None, end_section: bool = False
        ) -> None:
            shown = [
                Text(cell, no_wrap=True, overflow="ellipsis") if name in cut and isinstance(cell, str) else cell
                for name, cell in zip(columns, cells, strict=True)
            ]
            super().add_row(*shown, style=style, end_section=end_section)

    made = Cutting(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=column not in cut and column not in wrapped,
            overflow="ellipsis",
            min_width=None if column in cut else len(column),
        )
    return made


def document(value: object) -> None:
    """One JSON document, for reading."""
    _write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE))


def line(value: object) -> None:
    """One JSON document on one line."""
    _write(orjson.dumps(value, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE))


def note(text: str) -> None:
    """A remark beside what is asked for."""
    print(plain(text), file=sys.stderr)


def _write(text: bytes) -> None:
    sys.stdout.write(text.decode())
    sys.stdout.flush()


def span(seconds: float) -> str:
    """How long: the largest unit that fits."""
    if seconds < MINUTE:
        return f"{max(seconds, 0):.0f} s"
    if seconds < HOUR:
        return f"{seconds // MINUTE:.0f} min"
    if seconds < 2 * DAY:
        return f"{seconds // HOUR:.0f} h"
    return f"{seconds // DAY:.0f} d"


def ago(moment: datetime | None, now: datetime) -> str:
    """How long ago."""
    return HYPHEN if moment is None else f"{span((now - moment).total_seconds())} ago"


def since(moment: datetime | None, now: datetime) -> str:
    """For how long."""
    return HYPHEN if moment is None else span((now - moment).total_seconds())


def clock(moment: datetime) -> str:
    """Date and time in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def plain(text: object) -> str:
    """Other people's text on one line: what could steer a terminal is shown as a question mark."""
    flat = " ".join(str(text).split())
    return printable(flat)
