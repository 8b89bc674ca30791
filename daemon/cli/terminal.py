"""Text, tables and JSON on a terminal. Nothing here knows where the values come from."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from daemon.text import printable, span

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from rich.console import Console, ConsoleOptions
    from rich.text import Text

    from daemon.views.health import Health

PIPE_WIDTH = 100_000  # columns, so that nothing is cut off in a pipe
GAP = 2  # columns between two cells
INDENT = 4  # columns before what continues below a row
NARROWEST = 24  # columns in which a text can be read
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


class TextTable:
    """Rows in columns that are as wide as their content. Nothing is cut off.

    The most important columns come first: on a terminal, those without room beside the others continue below each row,
    with their names. The last column may wrap instead. In a pipe, each row is one line. ``right`` are columns of
    numbers, ``least`` the smallest widths of columns.
    """

    def __init__(
        self,
        *columns: str,
        right: Collection[str] = (),
        least: Mapping[str, int] | None = None,
        header: bool = True,
    ) -> None:
        self._columns = columns
        self._right = right
        self._least = least or {}
        self._header = header
        self._rows: list[tuple[Text, ...]] = []

    def add_row(self, *cells: str | Text) -> None:
        """Add a row with a cell for each column."""
        from rich.text import Text

        self._rows.append(tuple(Text(cell) if isinstance(cell, str) else cell for cell in cells))

    def widths(self) -> dict[str, int]:
        """Return the width of each column in which every cell fits on one line."""
        from rich.cells import cell_len

        return {
            name: max([cell_len(name), self._least.get(name, 0), *(row[number].cell_len for row in self._rows)])
            for number, name in enumerate(self._columns)
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Yield the lines, as rich asks for them."""
        from rich.text import Text

        widths = list(self.widths().values())
        count = _fit(widths, options.max_width)
        if self._header:
            names = tuple(Text(name, "bold") for name in self._columns[:count])
            yield from self._beside(console, names, widths[:count])
        for row in self._rows:
            yield from self._beside(console, row[:count], widths[:count])
            yield from self._below(console, row, count, options.max_width)

    def _beside(self, console: Console, cells: Sequence[Text], widths: list[int]) -> Iterator[Text]:
        """Yield the lines of the cells that are beside each other; the last one wraps."""
        from rich.text import Text

        line = Text()
        for number, (name, cell, width) in enumerate(zip(self._columns, cells, widths, strict=False)):
            padding = " " * (width - cell.cell_len)
            if name in self._right:
                line.append(padding)
            indent = line.cell_len
            if number < len(cells) - 1:
                line.append_text(cell).append("" if name in self._right else padding).append(" " * GAP)
            else:
                yield from _wrapped(console, line, cell, indent, width)

    def _below(self, console: Console, row: Sequence[Text], count: int, room: int) -> Iterator[Text]:
        """Yield the lines with the other cells, unless there is nothing in them."""
        from rich.text import Text

        line = Text()
        for name, cell in zip(self._columns[count:], row[count:], strict=True):
            if cell.plain in {"", HYPHEN}:
                continue
            pair = Text.assemble((f"{name}: ", "dim"), cell)
            if line and line.cell_len + GAP + pair.cell_len > room - INDENT:
                yield from _wrapped(console, Text(" " * INDENT), line, INDENT, room - INDENT)
                line = Text()
            line.append_text(Text(" " * GAP if line else "")).append_text(pair)
        if line:
            yield from _wrapped(console, Text(" " * INDENT), line, INDENT, room - INDENT)


def _fit(widths: list[int], room: int) -> int:
    """Return how many columns fit beside each other, and narrow the last of them to the room that it gets."""
    used = 0
    for number, width in enumerate(widths):
        left = room - used
        may_wrap = number == 0 or (number == len(widths) - 1 and left >= NARROWEST)
        if width > left and not may_wrap:
            return number
        widths[number] = min(width, left)
        used += width + GAP
    return len(widths)


def _wrapped(console: Console, first: Text, text: Text, indent: int, width: int) -> Iterator[Text]:
    """Yield the lines of a text that begins behind ``first`` and continues below itself."""
    from rich.text import Text

    for number, part in enumerate(text.wrap(console, max(width, 1), overflow="fold") or [text]):
        part.rstrip()
        before = first if number == 0 else Text(" " * indent)
        yield Text(no_wrap=True, overflow="ignore").append_text(before).append_text(part)


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


def notes(texts: Iterable[str]) -> None:
    """Print remarks to stderr, each on its line."""
    for text in texts:
        note(text)


def _write(document: bytes) -> None:
    text = document.decode()
    if sys.stdout.isatty():
        text = "".join(each if each.isprintable() or each == "\n" else _escaped(each) for each in text)
    sys.stdout.write(text)
    sys.stdout.flush()


def _escaped(character: str) -> str:
    """Return a character that a terminal might obey as JSON writes it in ASCII: one or two units of UTF-16."""
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


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
